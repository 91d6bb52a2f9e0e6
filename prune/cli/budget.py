"""The budget of a search as command line options, of which one may be given."""

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from prune.plan.budget import Budget

DEFAULT_MAX_DROP = 0.5

MaxDrop = Annotated[
    float | None,
    typer.Option(min=0, help=f"Points of accuracy that may be lost (default: {DEFAULT_MAX_DROP})."),
]
MaxKl = Annotated[
    float | None,
    typer.Option("--max-kl", min=0, help="Nats by which answers may diverge from the dense ones."),
]
Density = Annotated[float | None, typer.Option(min=0, max=1, help="Share of edges to keep.")]
PrefillSpeedup = Annotated[
    float | None, typer.Option(min=1, help="Counted prefill FLOPs to reach, dense over pruned.")
]
KvBytes = Annotated[
    float | None, typer.Option(min=0, help="Bytes of a prompt's KV cache to reach.")
]


class Saved(StrEnum):
    """What a search makes smaller."""

    flops = "flops"
    edges = "edges"
    kv_bytes = "kv_bytes"


Objective = Annotated[
    Saved, typer.Option(help="What to save: prefill FLOPs, attention edges or the KV cache.")
]


def budget_of(objective: Saved = Saved.flops, **given: float | None) -> "Budget":
    """The budget among the options; half a point of accuracy unless said otherwise.

    Raises:
        UsageError: more than one was given.
    """
    from prune.plan.budget import Budget

    if all(value is None for value in given.values()):
        given = {"max_drop": DEFAULT_MAX_DROP}
    return replace(Budget.of(**given), objective=objective.value)
