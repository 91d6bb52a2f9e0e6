"""The budget of a search as options of a command, of which one may be given."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from prune.plan.budget import Budget

DEFAULT_MAX_DROP = 0.5

MaxDrop = Annotated[
    float | None,
    typer.Option(min=0, help=f"Accuracy points that may be lost (default: {DEFAULT_MAX_DROP})."),
]
MaxKl = Annotated[
    float | None,
    typer.Option(
        "--max-kl", min=0, help="Nats by which answers may diverge from the dense model's."
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
    """The cost that a search reduces."""

    flops = "flops"
    edges = "edges"
    kv_bytes = "kv_bytes"


Objective = Annotated[
    Saved, typer.Option(help="Cost to reduce: prefill FLOPs, attention edges or the KV cache.")
]


_OPTIONS = {
    "max_drop": MaxDrop,
    "max_kl": MaxKl,
    "density": Density,
    "prefill_speedup": PrefillSpeedup,
    "kv_bytes": KvBytes,
}


@dataclass(frozen=True)
class BudgetOptions:
    """The budget as given on a command line.

    Attributes:
        given: value by kind of budget; at most one is allowed.
        objective: the cost to reduce.
    """

    given: dict[str, float]
    objective: Saved = Saved.flops

    @property
    def budget(self) -> "Budget":
        """The budget; half a point of accuracy if none was given.

        Raises:
            UsageError: more than one was given.
        """
        from prune.plan.budget import Budget

        given = self.given or {"max_drop": DEFAULT_MAX_DROP}
        return replace(Budget.of(**given), objective=self.objective.value)


def takes_budget(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options in place of its parameter `asked` (`BudgetOptions`)."""
    signature = inspect.signature(command)

    def option(name: str, kind: Any, default: Any) -> inspect.Parameter:
        keyword = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(name, keyword, default=default, annotation=kind)

    own = [p.replace(kind=p.KEYWORD_ONLY) for p in signature.parameters.values()]
    place = [p.name for p in own].index("asked")
    options = [option(name, kind, None) for name, kind in _OPTIONS.items()]
    options.append(option("objective", Objective, Saved.flops))
    parameters = [*own[:place], *options, *own[place + 1 :]]

    @wraps(command)
    def wrapper(**values: Any) -> None:
        picked = {name: values.pop(name) for name in _OPTIONS}
        given = {name: value for name, value in picked.items() if value is not None}
        command(asked=BudgetOptions(given, values.pop("objective")), **values)

    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper
