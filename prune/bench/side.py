"""One of the models that are compared."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from prune.plan.plan import Plan
from prune.runtime.apply import apply

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

    def running(self) -> AbstractContextManager[Any]:
        """The plan is in force inside the block."""
        if self.plan is None:
            return nullcontext(self.model)
        return apply(self.model, self.plan, processor=self.processor)


def sides(model: Any, processor: Any, plan: Plan) -> tuple[Side, Side]:
    """One model without and with a plan."""
    return Side(DENSE, model, processor), Side(PRUNED, model, processor, plan)
