"""An active plan on a model: the layout of every forward pass, and its enforcer."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import update_wrapper
from threading import local
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from prune.errors import RefusedError
from prune.families import family_of_model_type
from prune.kernels import Impl
from prune.layout.segments import Role, Segments, segment
from prune.plan.liveness import Mode
from prune.plan.plan import Plan
from prune.runtime.attention import Dense, Enforcer, in_this_thread
from prune.runtime.cache import Ledger, cache_in, check_cache, ledger_of, note
from prune.runtime.eager import eager
from prune.runtime.enforce import DecodeEnforcer, PlanEnforcer
from prune.runtime.launches import CountingEnforcer, Launches
from prune.runtime.prefill import Prefill, query_side
from prune.runtime.refuse import check_forward
from prune.runtime.schedule import schedule
from prune.runtime.turns import follow_up
from prune.runtime.worth import EVERY, Worth, worth_on

Skip = Literal["auto", "all", "none"]
"""Whether dead states are skipped where that is faster, always, or computed anyway and all keys
kept, as in the masked dense reference. "auto" and "all" give equal outputs and caches."""


@dataclass(frozen=True, eq=False)
class _Prompt:
    """The prompt of a `generate`.

    Attributes:
        ids: its tokens, int64 `[B, S]`.
        segments: their layout.
        cache: what the caller gave, which holds the beginning of the conversation; or None.
        chunked: whether the model is given one part of it after the other.
    """

    ids: Tensor
    segments: Segments
    cache: Any = None
    chunked: bool = False

    def of(self, ids: Tensor | None, batch: int) -> Segments | None:
        """The layout for rows of this prompt, each repeated for beams; None for other tokens."""
        times = batch // len(self.ids)
        mine = self.ids.repeat_interleave(times, 0)
        if ids is not None and (ids.shape != mine.shape or not torch.equal(ids.to(mine), mine)):
            return None
        return self.segments.repeated(times)


@dataclass
class _Pass:
    """One forward pass.

    Attributes:
        ledger: layout and what the cache holds.
        dense: whether it is the dense model's, since no prompt of the batch has a video.
        computed: tokens whose final state is valid; None if all.
        counted: the enforcer.
    """

    ledger: Ledger
    dense: bool
    computed: Tensor | None = None
    counted: CountingEnforcer | None = None


class _Call(local):
    """What a thread runs: a prompt inside of `generate`, and a forward pass."""

    prompt: _Prompt | None = None
    now: _Pass | None = None


class Session:
    """Hooks that find the layout of every forward pass and enforce the plan on it.

    The layout is derived from the whole prompt at its start and then travels on the cache, which is
    all that a later chunk or a decode step has of the prompt. What belongs to a pass is kept per
    thread, so several threads may use the model at once.
    """

    def __init__(
        self,
        model: Any,
        plan: Plan,
        processor: Any,
        impl: Impl,
        skip: Skip,
        mode: Mode,
        dense: Dense,
        strict: bool,
    ) -> None:
        self.plan, self.processor, self.impl = plan, processor, impl
        self.skip, self.mode, self.dense, self.strict = skip, mode, dense, strict
        self.owner = f"{plan.sha256} {skip} {mode}"
        family = family_of_model_type(model.config.model_type)
        self.full_layers = family.full_layers(model.config)
        self.launches = Launches([0] * plan.num_layers)
        self._spared = query_side(family.text_model_of(model).layers[0])
        self._states = model.config.text_config.hidden_size, model.dtype
        self._call = _Call()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Session":
        """The session of a copied model: the same plan, with counts of its own."""
        twin = memo[id(self)] = object.__new__(Session)
        vars(twin).update(vars(self))
        twin.launches = Launches([0] * self.plan.num_layers)
        twin._spared = deepcopy(self._spared, memo)
        twin._call = _Call()
        return twin

    def __reduce__(self) -> Any:
        """Refuse to be pickled, with the model that the session belongs to."""
        raise RefusedError(
            "a model that runs under a plan cannot be pickled: save it with save_pretrained or "
            "prune export, and load it where it is needed"
        )

    def generate(self, generate: Any, model: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        """Run a `generate`, which encodes the video first and calls the model without its pixels.

        It may be called inside another one, as by assisted decoding.
        """
        ids = args[0] if args else kwargs.get("inputs", kwargs.get("input_ids"))
        outer = self._call.prompt
        self._call.prompt = None
        settings = kwargs.get("generation_config") or model.generation_config
        if settings.is_assistant:
            raise RefusedError(
                "assisted decoding: an assistant is not given the video, so it cannot run under a "
                "plan: give a dense assistant_model"
            )
        if ids is not None and (layout := self._layout(ids, kwargs)) is not None:
            chunk = kwargs.get("prefill_chunk_size", settings.prefill_chunk_size)
            self._call.prompt = _Prompt(ids, layout, cache_in(kwargs), chunk is not None)
        try:
            return generate(*args, **kwargs)
        finally:
            self._call.prompt = outer

    def _layout(self, ids: Tensor, kwargs: dict[str, Any]) -> Segments | None:
        """Layout of a prompt, or of a conversation whose beginning is in the cache.

        None where the cache knows it already: an answer that was cut is continued by its last
        token, which `generate` had not run yet.
        """
        cache = cache_in(kwargs)
        start = 0 if cache is None else cache.get_seq_length()
        if not start:
            return self._segment(ids, kwargs)
        ledger = ledger_of(cache, self.owner)
        if ids.shape[1] == start + 1 > ledger.segments.shape[1]:
            return None
        known = ledger.segments.resized(start)
        if self.skip != "none" and self.mode == "single_turn" and (known.role == Role.VIDEO).any():
            raise RefusedError(
                "the cache kept only what its own answer reads: apply or load the plan with "
                'mode="multi_turn" to ask follow-up questions'
            )
        return follow_up(self.processor, ids, kwargs.get("attention_mask"), known)

    def _segment(self, ids: Tensor | None, kwargs: dict[str, Any]) -> Segments:
        found = segment(self.processor, {**kwargs, "input_ids": ids}, self.strict)
        self.launches.add_dense(int(found.unknown.sum()))
        return found

    @eager
    def before_model(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Pre-hook of the whole model: the layout of this pass."""
        self._call.now = None
        cache = cache_in(kwargs)
        ledger = self._known(args, kwargs, cache) or self._new(args, kwargs)
        if cache is not None:
            check_cache(cache)
        dense = not ledger.segments.has_video
        if not dense and self.skip != "none":
            check_forward(model, kwargs)
        in_this_thread(self.dense if dense else None)
        self._call.now = _Pass(ledger, dense)

    def _known(self, args: tuple[Any, ...], kwargs: dict[str, Any], cache: Any) -> Ledger | None:
        """The ledger of a pass that continues a prompt; None at the start of one."""
        if cache is None or not cache.get_seq_length():
            return None
        ledger, prompt = ledger_of(cache, self.owner), self._call.prompt
        if (times := len(_tokens(args, kwargs)) // len(ledger.segments.role)) > 1:
            ledger = ledger.repeated(times)
        # Others are second streams, as of classifier-free guidance.
        mine = prompt is not None and prompt.cache is cache
        if prompt and mine and prompt.segments.shape[1] > ledger.segments.shape[1]:
            rows = len(ledger.segments.role) // len(prompt.ids)
            ledger.segments = prompt.segments.repeated(rows)
        return ledger

    def _new(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ledger:
        """The ledger of a prompt that begins with this pass."""
        ids = args[0] if args else kwargs.get("input_ids")
        prompt = self._call.prompt
        if ids is None and prompt is None:
            raise RefusedError("a pruned model needs input_ids: roles are read from them")
        batch = len(_tokens(args, kwargs))
        segments = None if prompt is None else self._chunk_of(prompt, ids, batch)
        if segments is None:
            segments = self._segment(ids, kwargs)
        return Ledger(self.owner, segments)

    @staticmethod
    def _chunk_of(prompt: _Prompt, ids: Tensor | None, batch: int) -> Segments | None:
        """The layout of the prompt whose first tokens run; None if these are other tokens."""
        if ids is None:
            return prompt.of(None, batch)
        if ids.shape[1] < prompt.ids.shape[1] and not prompt.chunked:
            return None
        first = _Prompt(prompt.ids[:, : ids.shape[1]], prompt.segments)
        return first.of(ids[:, : first.ids.shape[1]], batch)

    @eager
    def before_text_model(
        self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Pre-hook of the text model: the enforcer of this pass."""
        now = self._call.now
        if now is None:
            raise RefusedError(
                "the text model of a pruned model cannot run alone: call the whole model"
            )
        if now.dense:
            return args, {**kwargs, "prune": self.dense}
        cache = cache_in(kwargs)
        start = 0 if cache is None else cache.get_seq_length()
        stop = start + _tokens(args, kwargs).shape[1]
        now.counted = CountingEnforcer(self._enforcer(now, start, stop), self.launches)
        return args, {**kwargs, "prune": now.counted}

    def _enforcer(self, now: _Pass, start: int, stop: int) -> Enforcer:
        """What enforces the plan on tokens `start` to `stop`."""
        ledger = now.ledger
        if ledger.decoder is not None and start >= ledger.segments.shape[1]:
            return ledger.decoder
        segments = _dense_rows(ledger.segments)
        rows = len(segments.role) * (stop - start) * self.plan.num_layers
        if self.skip == "none":
            if start < segments.shape[1]:
                self.launches.add_states(rows, rows)
            return PlanEnforcer(self.plan.reach, segments, self.impl, start, held=True)
        if start >= segments.shape[1]:
            ledger.decoder = DecodeEnforcer(self.plan.reach, segments, ledger.positions, self.impl)
            return ledger.decoder
        # Without a cache every pass runs the answers so far as well.
        segments = segments.resized(max(stop, segments.shape[1]))
        found = schedule(
            self.plan.reach,
            segments,
            self.mode,
            start,
            stop,
            ledger,
            self.full_layers,
            self._worth(),
        )
        # Answers stand last. Speculated ones may be taken back, so they are not noted.
        answers = max(0, stop - ledger.segments.shape[1])
        ledger.positions = [step.held for step in found.steps]
        if answers:
            ledger.positions = [held[:, : held.shape[1] - answers] for held in ledger.positions]
        ledger.seen, ledger.decoder = stop - answers, None
        now.computed = found.computed
        self.launches.add_states(found.states, rows)
        return Prefill(found, stop, self.impl)

    def _worth(self) -> Worth:
        if self.skip == "all":
            return EVERY
        self.launches.worth = worth_on(self._spared, *self._states)
        return self.launches.worth

    @eager
    def after_text_model(self, module: Any, args: tuple[Any, ...], output: Any) -> None:
        """Post-hook of the text model, also after an exception, when there is no output."""
        now = self._call.now
        if output is not None and now is not None and now.counted is not None:
            now.counted.check()

    @eager
    def after_model(
        self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """Post-hook of the whole model, also after an exception."""
        now, self._call.now = self._call.now, None
        in_this_thread(None)
        if now is None or output is None:
            return
        cache = cache_in(output) if isinstance(output, Mapping) else None
        if cache is not None:
            note(cache, now.ledger)
        if now.computed is not None and getattr(output, "logits", None) is not None:
            _hide(output, now.computed, kwargs.get("logits_to_keep", 0))


class Generate:
    """`generate` of a model under a plan. Unlike a closure it is copied with its model.

    Args:
        session: the active plan.
        model: whose `generate` it takes the place of.
    """

    def __init__(self, session: Session, model: Any) -> None:
        update_wrapper(self, model.generate)
        self._session, self._model, self._generate = session, model, model.generate

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See transformers' `generate`."""
        return self._session.generate(self._generate, self._model, args, kwargs)


def _tokens(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """What a model was given to run, `[B, S]` or `[B, S, H]`."""
    for tokens in (*args[:1], kwargs.get("inputs_embeds"), kwargs.get("input_ids")):
        if isinstance(tokens, Tensor):
            return tokens
    raise RefusedError("a pruned model needs input_ids: roles are read from them")


def _dense_rows(segments: Segments) -> Segments:
    """Prompts without a video as answers, which read each other: no plan applies to them."""
    role = segments.role.numpy()
    blind = ~(role == Role.VIDEO).any(1, keepdims=True)
    if not blind.any():
        return segments
    role = np.where(blind & (role >= 0), np.int8(Role.ANSWER), role)
    return Segments(torch.from_numpy(role), segments.frame, segments.option)


def _hide(output: Any, computed: Tensor, logits_to_keep: int | Tensor) -> None:
    """Set the logits of tokens whose final state was skipped to NaN."""
    shown = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
    valid = computed[:, shown]
    if not valid.all():
        hidden = ~valid[..., None].to(output.logits.device)
        output.logits = output.logits.masked_fill(hidden, float("nan"))
