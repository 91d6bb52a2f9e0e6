"""`prune.apply`: an unmodified transformers model, running under a plan until the block ends."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from prune.attention import route
from prune.errors import RefusedError
from prune.families import family_of_model_type
from prune.identity import geometry
from prune.plan.plan import Plan
from prune.runtime.enforce import PlanEnforcer
from prune.segments import Segments, segment

_ON_CACHE = "prune_segments"


class _Hooks:
    """Finds the layout of every forward pass and hands it to the attention layers.

    The layout is derived from the whole prompt at its start and then travels on the cache, which is
    all that a later chunk or a decode step has of the prompt.
    """

    def __init__(self, plan: Plan, processor: Any, impl: str):
        self.plan, self.processor, self.impl = plan, processor, impl
        self.prompt: Segments | None = None
        self.segments: Segments | None = None

    def around_generate(self, generate: Any) -> Any:
        """Wrap `generate`, which encodes the video first and calls the model without its pixels."""

        @wraps(generate)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            ids = args[0] if args else kwargs.get("inputs", kwargs.get("input_ids"))
            if ids is not None:
                self.prompt = segment(self.processor, {**kwargs, "input_ids": ids})
            try:
                return generate(*args, **kwargs)
            finally:
                self.prompt = None

        return wrapper

    def before_model(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Pre-hook of the whole model."""
        cache = kwargs.get("past_key_values")
        if cache is not None and cache.get_seq_length() > 0:
            self.segments = getattr(cache, _ON_CACHE, None)
            if self.segments is None:
                raise RefusedError("the cache was filled without this plan: start a new one")
            return
        ids = args[0] if args else kwargs.get("input_ids")
        if ids is None:
            raise RefusedError("a pruned model needs input_ids: roles are read from them")
        if self.prompt is None:
            self.segments = segment(self.processor, {**kwargs, "input_ids": ids})
        else:
            # Beams and several returned sequences repeat every prompt.
            self.segments = self.prompt.repeated(len(ids) // self.prompt.shape[0])
        if cache is not None:
            setattr(cache, _ON_CACHE, self.segments)

    def before_text_model(
        self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Pre-hook of the text model."""
        assert self.segments is not None
        enforcer = PlanEnforcer(self.plan.reach, self.segments, self.impl)
        return args, {**kwargs, "prune": enforcer}

    def after_model(self, model: Any, args: tuple[Any, ...], output: Any) -> None:
        """Post-hook of the whole model: a cache that was made inside carries the layout too."""
        cache = getattr(output, "past_key_values", None)
        if cache is not None:
            setattr(cache, _ON_CACHE, self.segments)


def attach(model: Any, plan: Plan, processor: Any, impl: str = "auto") -> ExitStack:
    """Put `plan` into force; closing the returned stack restores the model.

    Args:
        model: a transformers VideoLLM of a known family.
        plan: made for this geometry.
        processor: the model's processor, from whose tokenizer roles are read.
        impl: which attention kernel (`prune.kernels.segment_attention`).

    Raises:
        BadInputError: the model's family is unknown.
        RefusedError: the plan is for another model.
    """
    family = family_of_model_type(model.config.model_type)
    plan.check_model(geometry(model))
    hooks = _Hooks(plan, processor, impl)
    text_model = family.text_model_of(model)
    stack = ExitStack()
    # Not `seam`: a generator undoes itself when a caller drops the stack to keep the plan for good.
    stack.callback(route(model))
    outer = model.__dict__.get("generate")
    model.generate = hooks.around_generate(model.generate)
    stack.callback(_restore_generate, model, outer)
    for handle in (
        model.register_forward_pre_hook(hooks.before_model, with_kwargs=True),
        model.register_forward_hook(hooks.after_model),
        text_model.register_forward_pre_hook(hooks.before_text_model, with_kwargs=True),
    ):
        stack.callback(handle.remove)
    return stack


def _restore_generate(model: Any, outer: Any) -> None:
    del model.generate
    if outer is not None:
        model.generate = outer


@contextmanager
def apply(model: Any, plan: Plan, *, processor: Any, impl: str = "auto") -> Iterator[Any]:
    """Run `model` under `plan` inside the block; arguments and errors as in `attach`.

    Example:
        with prune.apply(model, plan, processor=processor):
            model.generate(**inputs)
    """
    with attach(model, plan, processor, impl):
        yield model
