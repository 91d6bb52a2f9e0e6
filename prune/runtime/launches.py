"""Launch counts under a plan: pruned attention calls, and states computed by prefills."""

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from torch import Tensor

from prune.errors import RefusedError
from prune.kernels.segment_attention.dispatch import taken
from prune.runtime.attention import Enforcer
from prune.runtime.worth import Worth

_lock = Lock()


@dataclass
class Launches:
    """Counts since a plan became active.

    Attributes:
        calls: pruned attention calls of every layer, `[L]`, of prefills and decode steps.
        computed: states (tokens times layers) that prefills computed. Under `skip="auto"` these
            may be more than the live ones.
        states: what the dense model computes for the same prompts; padding counts in both.
        dense_prompts: prompts with a video that ran dense, since their roles are not known.
        kernels: which implementation ran the calls, and how many of them.
        worth: what `skip="auto"` found worth skipping on this device; None before its first
            prefill, and under another `skip`.
    """

    calls: list[int]
    computed: int = 0
    states: int = 0
    dense_prompts: int = 0
    kernels: Counter[str] = field(default_factory=Counter)
    worth: Worth | None = None

    def add_states(self, computed: int, states: int) -> None:
        """Count the states of one prefill."""
        with _lock:
            self.computed += computed
            self.states += states

    def add_dense(self, prompts: int) -> None:
        """Count prompts whose roles are not known."""
        with _lock:
            self.dense_prompts += prompts

    @property
    def total(self) -> int:
        """Pruned attention calls of all layers."""
        return sum(self.calls)


SESSION = "_prune_session"
"""Attribute of a model under a plan that holds its `prune.runtime.session.Session`."""


def launches(model: Any) -> Launches:
    """Live counts of what ran since a plan became active on a model.

    Example:
        with prune.apply(model, plan, processor=processor):
            model.generate(**inputs)
            print(prune.launches(model))

    Raises:
        RefusedError: no plan is active on this model.
    """
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    session = vars(model).get(SESSION)
    if session is None:
        raise RefusedError(
            "no plan is active on this model: ask inside prune.apply, or for the model that "
            "prune.load returned"
        )
    found: Launches = session.launches
    return found


@dataclass
class CountingEnforcer:
    """An enforcer of one forward pass that counts calls, and knows which layers made none.

    Attributes:
        enforcer: does the work.
        launches: where its calls are counted.
    """

    enforcer: Enforcer
    launches: Launches
    _ran: list[tuple[int, str]] = field(init=False, default_factory=list)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        # A decode step may be one SDPA call that the kernels do not see.
        taken.impl = "sdpa"
        read = self.enforcer.attend(layer, query, key, value, scale)
        self._ran.append((layer, taken.impl))
        return read

    def check(self, first: int = 0) -> None:
        """Count the calls, after the pass: was every layer pruned?

        Args:
            first: the first layer that ran.

        Raises:
            RefusedError: a layer ran some other attention, so the plan was not enforced.
        """
        with _lock:
            for layer, impl in self._ran:
                self.launches.calls[layer] += 1
                self.launches.kernels[impl] += 1
        ran = {layer for layer, _ in self._ran}
        silent = [x for x in range(first, len(self.launches.calls)) if x not in ran]
        if silent:
            layers = ", ".join(map(str, silent))
            raise RefusedError(
                f"the plan is active, but layers {layers} ran another attention: do not change "
                "the model's attention implementation while it runs under a plan"
            )
