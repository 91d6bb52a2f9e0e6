"""The budget of a search as options of a command: limits of the harm, or one saving."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from prune.cli.grouped import grouped

if TYPE_CHECKING:
    from prune.plan.budget import Budget

MaxDrop = Annotated[
    float | None,
    typer.Option(min=0, help="Accuracy points that may be lost (default: 0.5 with options)."),
]
MaxKl = Annotated[
    float | None,
    typer.Option(
        "--max-kl", min=0, help="Nats by which answers may diverge from the dense model's."
    ),
]
MinAgreement = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=100,
        help="Percent of answers and of reply tokens that have to stay the same (default: 98 "
        "of open questions).",
    ),
]
Density = Annotated[
    float | None, typer.Option(min=0, max=1, help="Share of the attention edges to keep.")
]
PrefillSpeedup = Annotated[
    float | None,
    typer.Option(min=1, help="Target ratio of counted prefill FLOPs, dense over pruned."),
]
KvBytes = Annotated[
    float | None, typer.Option(min=0, help="Target size of a prompt's KV cache, in bytes.")
]


class Saved(StrEnum):
    """What a search reduces."""

    flops = "flops"
    edges = "edges"
    kv_bytes = "kv_bytes"
    hallucination = "hallucination"


Objective = Annotated[
    Saved,
    typer.Option(
        help="What to reduce: prefill FLOPs, attention edges, the KV cache, or hallucination (the "
        "yes to questions about absent things)."
    ),
]


_OPTIONS = {
    "max_drop": (MaxDrop, None),
    "max_kl": (MaxKl, None),
    "min_agreement": (MinAgreement, None),
    "density": (Density, None),
    "prefill_speedup": (PrefillSpeedup, None),
    "kv_bytes": (KvBytes, None),
    "objective": (Objective, Saved.flops),
}


@dataclass(frozen=True)
class BudgetOptions:
    """The budget as given on a command line.

    Attributes:
        given: value by kind of budget.
        objective: what to reduce.
    """

    given: dict[str, float]
    objective: Saved = Saved.flops

    @property
    def budget(self) -> "Budget | None":
        """The budget; None if none was given.

        Raises:
            UsageError: values were given that exclude each other.
        """
        from prune.plan.budget import Budget

        if not self.given:
            return None
        return replace(Budget.of(**self.given), objective=self.objective.value)


Freeze = Annotated[
    bool,
    typer.Option(
        "--freeze",
        help="Also try layers that do not update video, question or options; vLLM runs no such "
        "plan yet.",
    ),
]


def _asked(objective: Saved, **values: float | None) -> BudgetOptions:
    given = {name: value for name, value in values.items() if value is not None}
    return BudgetOptions(given, objective)


takes_budget = grouped("asked", _OPTIONS, _asked)
"""Give a command these options in place of its parameter `asked` (`BudgetOptions`)."""
