"""`Result`: everything measured and counted about one plan; the report is drawn from it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from prune.errors import BadInputError
from prune.evaluate.answers import Answer
from prune.evaluate.stats import Interval, mcnemar, paired_difference, proportion
from prune.files import write_atomically
from prune.flow import Curve, Flow, Panel
from prune.plan.front import Point, front
from prune.plan.search import Found, Harm
from prune.segments import Role

SCHEMA_VERSION = 2
FILE = "prune_report.json"


@dataclass(frozen=True)
class TaskRow:
    """Accuracy on one task (restricted to the options), in percent."""

    task: str
    n: int
    dense: Interval
    pruned: Interval
    random: float | None
    difference: Interval


@dataclass(frozen=True)
class AccuracyReport:
    """Dense against pruned on the same held-out samples.

    Attributes:
        overall: all tasks together.
        random: accuracy of each seed with as many edges removed at random.
        p_value: exact McNemar test that pruning changes accuracy.
        free_dense, free_pruned: accuracy over the whole vocabulary, in percent.
        flipped: ids of the samples whose option changed.
    """

    tasks: tuple[TaskRow, ...]
    overall: TaskRow
    random: tuple[float, ...]
    p_value: float
    free_dense: float
    free_pruned: float
    flipped: tuple[str, ...]


@dataclass(frozen=True)
class BaselineRow:
    """A baseline (`prune.baselines`) on the samples of the `AccuracyReport`.

    Attributes:
        name, source, setting: of `prune.baselines.baseline.Baseline`.
        edges, flops: shares of the dense model's, counted.
        accuracies: in percent, one a seed where it is drawn at random.
        difference: the plan's accuracy minus the baseline's (its best seed's), in points.
        p_value: exact McNemar test of that difference.
    """

    name: str
    source: str
    setting: str
    edges: float
    flops: float
    accuracies: tuple[float, ...]
    difference: Interval
    p_value: float


@dataclass(frozen=True)
class SearchReport:
    """How the plan was found.

    Attributes:
        samples: calibration samples.
        points: what was tried (`prune.plan.front.Point`), the dense model among them.
        harms: what each removed pathway was measured to do.
        forwards, exhaustive: runs over single samples that the search took, and that backward
            elimination would have taken.
    """

    samples: int
    points: tuple[Point, ...]
    harms: tuple[Harm, ...]
    forwards: int
    exhaustive: int

    @staticmethod
    def of(found: Found) -> "SearchReport":
        """The report of a finished search."""
        return SearchReport(
            found.dense.samples, front(found), found.harms, found.forwards, found.exhaustive
        )

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_atomically(path, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class CostRow:
    """One way to run the prompt, counted from its plan (`prune.plan.cost.Cost`)."""

    name: str
    edges: float
    flops: float
    kv_bytes: int
    live_tokens: tuple[int, ...]


@dataclass(frozen=True)
class LatencyRow:
    """A measured time in ms: median and 20th and 80th percentile of `runs`."""

    what: str
    model: str
    median: float
    p20: float
    p80: float
    runs: int


def by_quantity(rows: Sequence[LatencyRow]) -> dict[str, dict[str, LatencyRow]]:
    """Rows by quantity, then by model (`dense` first)."""
    pairs: dict[str, dict[str, LatencyRow]] = {}
    for row in sorted(rows, key=lambda row: row.model):
        pairs.setdefault(row.what, {})[row.model] = row
    return pairs


@dataclass(frozen=True)
class Result:
    """The content of `prune_report.json`.

    Attributes:
        plan: name and SHA-256 of the plan.
        kept_edges, causal_edges: of the prompts below.
        prompt_runs: layout of the prompt of median length, on which edges and costs were counted
            (`prune.segments.Segments.runs`).
        search: how the plan was found, if it was searched.
        baselines: what the same cost buys otherwise.
        conditions: device, versions, settings: what one needs to measure this again.
        failed: reason by id of each held-out sample that could not be used.
    """

    model: dict[str, Any]
    plan: dict[str, str]
    kept_edges: int
    causal_edges: int
    prompt_runs: tuple[tuple[int, int, int], ...]
    flow: Flow | None
    search: SearchReport | None
    accuracy: AccuracyReport | None
    baselines: tuple[BaselineRow, ...]
    cost: tuple[CostRow, ...]
    latency: tuple[LatencyRow, ...]
    conditions: dict[str, str]
    failed: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def removed(self) -> float:
        """Share of edges removed, in percent."""
        return 100 * (1 - self.kept_edges / self.causal_edges)

    @property
    def prompt(self) -> dict[str, int]:
        """Tokens of that prompt by role."""
        tokens: dict[str, int] = {}
        for role, _, count in self.prompt_runs:
            name = Role(role).name.lower()
            tokens[name] = tokens.get(name, 0) + count
        return tokens

    def save(self, path: Path) -> None:
        """Write as JSON."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(path, text + "\n")

    @staticmethod
    def load(path: Path) -> "Result":
        """Read what `save` wrote; raises `BadInputError` if it is not that."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema {data['schema_version']}, expected {SCHEMA_VERSION}")
            return _build(Result, data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInputError(f"{path}: not a prune report: {error}") from None


_NESTED: dict[str, Any] = {
    "flow": Flow,
    "accuracy": AccuracyReport,
    "overall": TaskRow,
    "tasks": TaskRow,
    "panels": Panel,
    "curves": Curve,
    "search": SearchReport,
    "points": Point,
    "harms": Harm,
    "baselines": BaselineRow,
    "cost": CostRow,
    "latency": LatencyRow,
    "dense": Interval,
    "pruned": Interval,
    "difference": Interval,
}


def _build(kind: Any, data: Any) -> Any:
    """Dataclasses and tuples again from what `asdict` and JSON made of them."""
    if isinstance(data, list):
        return tuple(_build(kind, item) for item in data)
    if kind is None or not isinstance(data, dict):
        return data
    return kind(**{f.name: _build(_NESTED.get(f.name), data[f.name]) for f in fields(kind)})


def _row(task: str, dense: Sequence[Answer], pruned: Sequence[Answer],
         random: Sequence[Sequence[Answer]]) -> TaskRow:  # fmt: skip
    keep = [i for i, a in enumerate(dense) if task in ("all", a.task)]
    before, after = [dense[i].correct for i in keep], [pruned[i].correct for i in keep]
    drawn = [100 * sum(answers[i].correct for i in keep) / len(keep) for answers in random]
    return TaskRow(
        task,
        len(keep),
        proportion(before),
        proportion(after),
        sum(drawn) / len(drawn) if drawn else None,
        paired_difference(before, after),
    )


def accuracy_report(
    dense: Sequence[Answer], pruned: Sequence[Answer], random: Sequence[Sequence[Answer]]
) -> AccuracyReport:
    """Compare answers to the same samples, in the same order; `random` holds one list a seed."""
    tasks = sorted({a.task for a in dense})
    before, after = [a.correct for a in dense], [a.correct for a in pruned]
    n = len(dense)
    return AccuracyReport(
        tasks=tuple(_row(task, dense, pruned, random) for task in tasks),
        overall=_row("all", dense, pruned, random),
        random=tuple(100 * sum(a.correct for a in answers) / n for answers in random),
        p_value=mcnemar(before, after),
        free_dense=100 * sum(a.free_correct for a in dense) / n,
        free_pruned=100 * sum(a.free_correct for a in pruned) / n,
        flipped=tuple(a.id for a, b in zip(dense, pruned, strict=True) if a.choice != b.choice),
    )


def paired_report(before: Sequence[Answer], after: Sequence[Answer]) -> AccuracyReport:
    """Two models on the samples that both answered, paired by sample id.

    Raises:
        BadInputError: there is none.
    """
    known = {answer.id: answer for answer in before}
    both = [answer for answer in after if answer.id in known]
    if not both:
        raise BadInputError("the two models have no answered sample in common")
    return accuracy_report([known[answer.id] for answer in both], both, [])
