"""`prune.apply`: an unmodified transformers model, running under a plan until the block ends."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from prune.errors import RefusedError, UsageError
from prune.families import family_of_model_type
from prune.layout.segments import Role, Segments, segment
from prune.plan.liveness import Mode
from prune.plan.model_id import geometry
from prune.plan.plan import Plan
from prune.runtime.attention import ATTENTION_NAME, Enforcer, route
from prune.runtime.cache import Ledger, check_cache, ledger_of, note
from prune.runtime.enforce import DecodeEnforcer, PlanEnforcer
from prune.runtime.launches import CountingEnforcer, Launches, counting
from prune.runtime.prefill import Prefill
from prune.runtime.refuse import check_forward
from prune.runtime.schedule import schedule
from prune.runtime.turns import follow_up

Skip = Literal["all", "none"]
"""What a plan makes unnecessary: skip it, or, as the masked dense reference, compute it anyway."""


class _Session:
    """A plan in force: hooks that find the layout of every forward pass and enforce the plan on it.

    The layout is derived from the whole prompt at its start and then travels on the cache, which is
    all that a later chunk or a decode step has of the prompt.
    """

    def __init__(
        self,
        model: Any,
        plan: Plan,
        processor: Any,
        impl: str,
        skip: Skip,
        mode: Mode,
        launches: Launches,
    ) -> None:
        self.plan, self.processor, self.impl = plan, processor, impl
        self.skip, self.mode, self.launches = skip, mode, launches
        self.owner = f"{plan.sha256} {skip} {mode}"
        family = family_of_model_type(model.config.model_type)
        self.full_layers = family.full_layers(model.config)
        self.text_config = model.config.text_config
        self.dense_attention = self.text_config._attn_implementation
        self.prompt: Segments | None = None
        self._forget()

    def _forget(self) -> None:
        """Nothing of a forward pass outlives it."""
        self.ledger: Ledger | None = None
        self.computed: Tensor | None = None
        self.counted: CountingEnforcer | None = None
        self.prefill: ExitStack = ExitStack()

    @property
    def _dense(self) -> bool:
        """Whether this pass is the dense model's, since no prompt of the batch has a video."""
        return self.ledger is not None and not (self.ledger.segments.role == Role.VIDEO).any()

    def around_generate(self, generate: Any) -> Any:
        """Wrap `generate`, which encodes the video first and calls the model without its pixels."""

        @wraps(generate)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            ids = args[0] if args else kwargs.get("inputs", kwargs.get("input_ids"))
            if ids is not None:
                self.prompt = self._layout(ids, kwargs)
            try:
                return generate(*args, **kwargs)
            finally:
                self.prompt = None

        return wrapper

    def _layout(self, ids: Tensor, kwargs: dict[str, Any]) -> Segments:
        """Layout of a prompt, or of a conversation whose beginning is in the cache."""
        cache = kwargs.get("past_key_values")
        start = 0 if cache is None else cache.get_seq_length()
        if not start:
            return segment(self.processor, {**kwargs, "input_ids": ids})
        known = ledger_of(cache, self.owner).segments.resized(start)
        if self.skip == "all" and self.mode == "single_turn" and (known.role == Role.VIDEO).any():
            raise RefusedError(
                "the cache kept only what its own answer reads: apply or load the plan with "
                'mode="multi_turn" to ask follow-up questions'
            )
        return follow_up(self.processor, ids, kwargs.get("attention_mask"), known)

    def before_model(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Pre-hook of the whole model: the layout of this pass."""
        cache = kwargs.get("past_key_values")
        if cache is not None and cache.get_seq_length() > 0:
            self.ledger = ledger_of(cache, self.owner)
            if (times := len(_tokens(args, kwargs)) // len(self.ledger.segments.role)) > 1:
                self.ledger = self.ledger.repeated(times)
            if self.prompt is not None and self.prompt.shape[1] > self.ledger.segments.shape[1]:
                self.ledger.segments = self._repeated(len(self.ledger.segments.role))
        else:
            ids = args[0] if args else kwargs.get("input_ids")
            if ids is None:
                raise RefusedError("a pruned model needs input_ids: roles are read from them")
            segments = (
                segment(self.processor, {**kwargs, "input_ids": ids})
                if self.prompt is None
                else self._repeated(len(ids))
            )
            self.ledger = Ledger(self.owner, segments)
        if cache is not None:
            check_cache(cache)
        if self._dense:
            self.text_config._attn_implementation = self.dense_attention
        elif self.skip == "all":
            check_forward(model, kwargs)

    def _repeated(self, batch: int) -> Segments:
        """The prompt of this `generate`; beams and several returned sequences repeat every row."""
        assert self.prompt is not None
        return self.prompt.repeated(batch // self.prompt.shape[0])

    def before_text_model(
        self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Pre-hook of the text model: the enforcer of this pass."""
        if self._dense:
            return args, kwargs
        cache = kwargs.get("past_key_values")
        start = 0 if cache is None else cache.get_seq_length()
        stop = start + _tokens(args, kwargs).shape[1]
        self.counted = CountingEnforcer(self._enforcer(module, start, stop), self.launches)
        return args, {**kwargs, "prune": self.counted}

    def _enforcer(self, text_model: Any, start: int, stop: int) -> Enforcer:
        """What enforces the plan on tokens `start` to `stop`; hooks the layers of a prefill."""
        ledger = self.ledger
        assert ledger is not None
        segments = _dense_rows(ledger.segments)
        rows = len(segments.role) * (stop - start) * self.plan.num_layers
        if self.skip == "none":
            if start < segments.shape[1]:
                self.launches.states += rows
                self.launches.computed += rows
            return PlanEnforcer(self.plan.reach, segments, self.impl)
        if start >= segments.shape[1]:
            if ledger.decoder is None:
                ledger.decoder = DecodeEnforcer(
                    self.plan.reach, segments, ledger.positions, self.impl
                )
            return ledger.decoder
        # Without a cache every pass runs the answers so far as well.
        segments = segments.resized(max(stop, segments.shape[1]))
        found = schedule(
            self.plan.reach, segments, self.mode, start, stop, ledger, self.full_layers
        )
        # Answers stand last. Speculated ones may be taken back, so they are not noted.
        answers = max(0, stop - ledger.segments.shape[1])
        ledger.positions = [s.held[:, : s.held.shape[1] - answers] for s in found.steps]
        ledger.seen, ledger.decoder = stop - answers, None
        self.computed = found.computed
        self.launches.states += rows
        self.launches.computed += found.states
        enforcer = Prefill(found, stop, self.impl)
        self.prefill = enforcer.hook(text_model)
        return enforcer

    def after_text_model(self, module: Any, args: tuple[Any, ...], output: Any) -> None:
        """Post-hook of the text model, also after an exception, when there is no output."""
        self.prefill.close()
        if output is not None and self.counted is not None:
            self.counted.check()

    def after_model(
        self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """Post-hook of the whole model, also after an exception."""
        if self._dense:
            self.text_config._attn_implementation = ATTENTION_NAME
        cache = getattr(output, "past_key_values", None)
        if cache is not None and self.ledger is not None:
            note(cache, self.ledger)
        if self.computed is not None and getattr(output, "logits", None) is not None:
            _hide(output, self.computed, kwargs.get("logits_to_keep", 0))
        self._forget()


def _tokens(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """What a model was given to run, `[B, S]` or `[B, S, H]`."""
    for tokens in (*args[:1], kwargs.get("inputs_embeds"), kwargs.get("input_ids")):
        if tokens is not None:
            return tokens
    raise RefusedError("a pruned model needs input_ids: roles are read from them")


def _dense_rows(segments: Segments) -> Segments:
    """Prompts without a video as answers, which read each other: a plan has no say in them."""
    blind = ~(segments.role == Role.VIDEO).any(1, keepdim=True)
    if not blind.any():
        return segments
    role = torch.where(blind & (segments.role >= 0), int(Role.ANSWER), segments.role)
    return Segments(role.to(segments.role.dtype), segments.frame, segments.option)


def _hide(output: Any, computed: Tensor, logits_to_keep: int | Tensor) -> None:
    """Set the logits of tokens whose final state was skipped to NaN."""
    shown = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
    hidden = ~computed[:, shown]
    if hidden.any():
        hidden = hidden[..., None].to(output.logits.device)
        output.logits = output.logits.masked_fill(hidden, float("nan"))


def attach(
    model: Any,
    plan: Plan,
    processor: Any,
    impl: str = "auto",
    skip: Skip = "all",
    mode: Mode = "single_turn",
) -> ExitStack:
    """Put `plan` into force; closing the returned stack restores the model.

    With `skip="all"` states that cannot reach an answer are not computed and keys that nothing to
    come may read are not kept. The logits that answers depend on stay those of `skip="none"`; the
    others are NaN. A batch without any video is the dense model's, bit for bit.

    Args:
        model: a transformers VideoLLM of a known family, also with quantised weights or in a
            `PeftModel`.
        plan: made for this geometry.
        processor: the model's processor, from whose tokenizer roles are read.
        impl: which attention kernel (`prune.kernels.segment_attention`).
        skip: "none" computes every state and keeps every key.
        mode: "multi_turn" keeps the keys that follow-up questions may read: pass the cache and the
            whole conversation to `generate`.

    Raises:
        BadInputError: the model's family is unknown.
        RefusedError: the plan is for another model, or no plan describes the model's attention.
        UsageError: no such `skip` or `mode`.
    """
    for name, value, known in (("skip", skip, Skip), ("mode", mode, Mode)):
        if value not in get_args(known):
            raise UsageError(f"{name}: expected {' or '.join(get_args(known))}, got {value!r}")
    # A PEFT model wraps the one whose modules it has changed in place.
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    family = family_of_model_type(model.config.model_type)
    family.check(model.config)
    plan.check_model(geometry(model))
    text_model = family.text_model_of(model)
    stack = ExitStack()
    launches, end = counting(model, plan.num_layers)
    stack.callback(end)
    session = _Session(model, plan, processor, impl, skip, mode, launches)
    # Not `seam`: a generator undoes itself when a caller drops the stack to keep the plan for good.
    stack.callback(route(model))
    outer = model.__dict__.get("generate")
    model.generate = session.around_generate(model.generate)
    stack.callback(_restore_generate, model, outer)
    # Hooks read layouts on the host: torch.compile compiles what lies between them.
    eager = torch.compiler.disable
    always = {"always_call": True}
    for handle in (
        model.register_forward_pre_hook(eager(session.before_model), with_kwargs=True),
        model.register_forward_hook(eager(session.after_model), with_kwargs=True, **always),
        text_model.register_forward_pre_hook(eager(session.before_text_model), with_kwargs=True),
        text_model.register_forward_hook(eager(session.after_text_model), **always),
    ):
        stack.callback(handle.remove)
    return stack


def _restore_generate(model: Any, outer: Any) -> None:
    del model.generate
    if outer is not None:
        model.generate = outer


@contextmanager
def apply(
    model: Any,
    plan: Plan,
    *,
    processor: Any,
    impl: str = "auto",
    skip: Skip = "all",
    mode: Mode = "single_turn",
) -> Iterator[Any]:
    """Run `model` under `plan` inside the block; arguments and errors as in `attach`.

    Example:
        with prune.apply(model, plan, processor=processor):
            model.generate(**inputs)
    """
    with attach(model, plan, processor, impl, skip, mode):
        yield model
