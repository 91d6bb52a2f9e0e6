"""What really ran under a plan: pruned attention calls, and the states that prefills computed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from prune.errors import RefusedError
from prune.runtime.attention import Enforcer


@dataclass
class Launches:
    """Counted from the moment a plan comes into force.

    Attributes:
        calls: pruned attention calls of every layer, `[L]`, of prefills and decode steps.
        computed: states (tokens times layers) that prefills computed.
        states: what the dense model computes for the same prompts; padding counts in both.
    """

    calls: list[int]
    computed: int = 0
    states: int = 0

    @property
    def total(self) -> int:
        """Pruned attention calls of all layers."""
        return sum(self.calls)


_IN_FORCE: WeakKeyDictionary[Any, Launches] = WeakKeyDictionary()


def launches(model: Any) -> Launches:
    """What ran since a plan came into force on a model, counted live.

    Example:
        with prune.apply(model, plan, processor=processor):
            model.generate(**inputs)
            print(prune.launches(model))

    Raises:
        RefusedError: no plan is in force on this model.
    """
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    if model not in _IN_FORCE:
        raise RefusedError(
            "no plan is in force on this model: ask inside prune.apply, or for the model that "
            "prune.load returned"
        )
    return _IN_FORCE[model]


def counting(model: Any, num_layers: int) -> tuple[Launches, Callable[[], None]]:
    """Begin to count for a model; with what ends it."""
    before = _IN_FORCE.get(model)
    found = _IN_FORCE[model] = Launches([0] * num_layers)

    def end() -> None:
        if before is None:
            _IN_FORCE.pop(model, None)
        else:
            _IN_FORCE[model] = before

    return found, end


@dataclass
class CountingEnforcer:
    """An enforcer of one forward pass that counts, and knows which layers never asked it.

    Attributes:
        enforcer: does the work.
        launches: where its calls are counted.
    """

    enforcer: Enforcer
    launches: Launches
    _silent: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self._silent = set(range(len(self.launches.calls)))

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        self.launches.calls[layer] += 1
        self._silent.discard(layer)
        return self.enforcer.attend(layer, query, key, value, scale)

    def check(self, first: int = 0) -> None:
        """After the pass: was every layer pruned?

        Args:
            first: the first layer that ran.

        Raises:
            RefusedError: a layer ran some other attention, so the plan was not enforced.
        """
        silent = [layer for layer in sorted(self._silent) if layer >= first]
        if silent:
            layers = ", ".join(map(str, silent))
            raise RefusedError(
                f"the plan is in force, but layers {layers} ran another attention: do not change "
                "the model's attention implementation while it runs under a plan"
            )
