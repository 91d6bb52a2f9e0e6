"""`prune.apply`: an unmodified transformers model, running under a plan until the block ends."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, get_args

from prune.errors import RefusedError, UsageError
from prune.families import family_of_model_type
from prune.kernels import Impl
from prune.layout.freezing import freezes
from prune.plan.liveness import Mode
from prune.plan.model_id import geometry
from prune.plan.plan import Plan
from prune.runtime.attention import route
from prune.runtime.held import hold_frozen
from prune.runtime.launches import SESSION
from prune.runtime.positions import place
from prune.runtime.prefill import hooked, refuse_frozen
from prune.runtime.refuse import refuse_continuous_batching
from prune.runtime.session import Generate, Session, Skip
from prune.runtime.versions import self_check, untested, warn_untested


def attach(
    model: Any,
    plan: Plan,
    processor: Any,
    impl: Impl = "auto",
    skip: Skip = "auto",
    mode: Mode = "single_turn",
    strict: bool = False,
) -> ExitStack:
    """Make `plan` active; closing the returned stack restores the model.

    States that cannot reach an answer are not computed, and keys that no later token may read are
    dropped. The logits that answers depend on stay those of `skip="none"`; the others are NaN. A
    batch without any video is the dense model's, bit for bit.

    A plan that was measured at vLLM's positions runs at those (`prune.runtime.positions`).

    A deep copy of the model runs under the plan, too, and for good; it counts for itself.

    Args:
        model: a transformers VideoLLM of a known family, also with quantised weights or in a
            `PeftModel`.
        plan: made for this geometry.
        processor: the model's processor, from whose tokenizer roles are read.
        impl: which attention kernel (`prune.kernels.segment_attention`).
        skip: "auto" skips dead states where that is faster on this device, by a measurement of
            some milliseconds; "all" always; "none" computes every state and keeps every key.
        mode: "multi_turn" keeps the keys that follow-up questions may read: pass the cache and the
            whole conversation to `generate`.
        strict: refuse prompts whose roles cannot be known. Else they run dense, with a warning, and
            `prune.launches` counts them.

    Raises:
        BadInputError: the model's family is unknown.
        RefusedError: the plan is for another model, no plan describes the model's attention, a plan
            is active on it, or the plan freezes states and the layers have unknown parts.
        UsageError: no such `skip` or `mode`.
    """
    for name, value, known in (("skip", skip, Skip), ("mode", mode, Mode)):
        *others, last = get_args(known)
        if value not in (*others, last):
            raise UsageError(f"{name}: expected {', '.join(others)} or {last}, got {value!r}")
    # A PEFT model wraps the one whose modules it has changed in place.
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    if SESSION in vars(model):
        raise RefusedError(
            "a plan is already active on this model: leave its prune.apply first; of an export, "
            "load the dense model with from_pretrained(..., attn_implementation='sdpa')"
        )
    family = family_of_model_type(model.config.model_type)
    family.check(model.config)
    plan.check_model(geometry(model))
    text_model = family.text_model_of(model)
    if untested() is not None:
        warn_untested()
        self_check(model, text_model)
    stack = ExitStack()
    # Not `seam`: a generator undoes itself when a caller drops the stack to keep the plan for good.
    dense, restore = route(model)
    stack.callback(restore)
    stack.callback(place(model, plan.model.positions))
    session = Session(model, plan, processor, impl, skip, mode, dense, strict)
    setattr(model, SESSION, session)
    stack.callback(delattr, model, SESSION)
    stack.callback(hooked(text_model).close)
    if freezes(plan.reach):
        refuse_frozen(text_model)
        if skip == "none":
            stack.callback(hold_frozen(text_model).close)
    outer = model.__dict__.get("generate")
    model.generate = Generate(session, model)
    stack.callback(_restore_generate, model, outer)
    # `generate_batch` and servers begin with it.
    model.init_continuous_batching = refuse_continuous_batching
    stack.callback(delattr, model, "init_continuous_batching")
    always = {"always_call": True}
    for handle in (
        model.register_forward_pre_hook(session.before_model, with_kwargs=True),
        model.register_forward_hook(session.after_model, with_kwargs=True, **always),
        text_model.register_forward_pre_hook(session.before_text_model, with_kwargs=True),
        text_model.register_forward_hook(session.after_text_model, **always),
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
    impl: Impl = "auto",
    skip: Skip = "auto",
    mode: Mode = "single_turn",
    strict: bool = False,
) -> Iterator[Any]:
    """Run `model` under `plan` inside the block; it is dense again at its end.

    The output equals the dense model's with the removed edges masked. Logits of tokens that were
    not computed are NaN.

    Args:
        model: a transformers VideoLLM of a supported family, also with quantised weights or in a
            `PeftModel`.
        plan: made for this geometry.
        processor: the model's processor.
        impl: which attention kernel (`prune.kernels.segment_attention`).
        skip: "auto" skips dead states where that is faster on this device, by a measurement of
            some milliseconds, and "all" always: outputs and cache are the same. "none" computes
            every state and keeps every key, as a reference.
        mode: "multi_turn" keeps the keys that follow-up questions may read.
        strict: refuse prompts whose roles cannot be known, in place of running them dense.

    Yields:
        The model.

    Raises:
        BadInputError: the model's family is unknown.
        RefusedError: the plan is for another model, no plan describes the model's attention, or a
            plan is active on it.
        UsageError: no such `skip` or `mode`.

    Example:
        with prune.apply(model, plan, processor=processor):
            model.generate(**inputs)
    """
    with attach(model, plan, processor, impl, skip, mode, strict):
        yield model
