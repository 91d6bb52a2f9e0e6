"""One side of a comparison: a model and the plan it runs under."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prune.errors import RefusedError
from prune.plan.plan import Plan
from prune.runtime.apply import apply
from prune.runtime.launches import launches

DENSE, PRUNED = "dense", "pruned"


@dataclass(frozen=True)
class Side:
    """A model, and the plan that it runs under while it is measured.

    Attributes:
        name: `DENSE` or `PRUNED`.
        model: dense; both sides may share it.
        processor: of the model.
        plan: none for the dense side.
    """

    name: str
    model: Any
    processor: Any
    plan: Plan | None = None

    @contextmanager
    def running(self) -> Iterator[Any]:
        """Activate the plan inside the block, and check that something ran under it.

        Raises:
            RefusedError: the block ran no pruned attention, so what it measured is dense.
        """
        if self.plan is None:
            yield self.model
            return
        with apply(self.model, self.plan, processor=self.processor):
            yield self.model
            if not launches(self.model).total:
                raise RefusedError(
                    "no pruned attention ran while the pruned model was measured: it ran dense"
                )


def sides(model: Any, processor: Any, plan: Plan) -> tuple[Side, Side]:
    """One model without and with a plan."""
    return Side(DENSE, model, processor), Side(PRUNED, model, processor, plan)
