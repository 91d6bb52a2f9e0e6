"""`Result`: everything measured and counted about one plan, from which its report is drawn."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from prune.errors import BadInputError
from prune.io.files import write_atomically
from prune.io.untrusted import read_json
from prune.layout.segments import Role
from prune.plan.budget import Budget
from prune.plan.front import Point, front
from prune.plan.search_result import Harm, SearchResult
from prune.results.accuracy import AccuracyReport
from prune.results.audit_findings import Finding, Outcome
from prune.results.flips import FlipDetail
from prune.results.flow_map import Flow
from prune.results.frame_counts import FrameCountsReport
from prune.results.interval import Interval
from prune.results.latency import BenchRow, LatencyRow, LaunchCounts, Shape
from prune.results.later_turns import TurnsReport
from prune.results.load import LoadReport
from prune.results.replies import RepliesReport

SCHEMA_VERSION = 6
RESULT_FILE = "prune_report.json"
MAX_BYTES = 64 * 2**20
"""Of a report: some 100 000 flipped answers."""


@dataclass(frozen=True)
class ComposedRow:
    """The plan on top of a baseline that leaves less of the video.

    Attributes:
        flops: share of the dense model's, counted.
        accuracy: in percent.
        difference: this accuracy minus the baseline's alone, in points.
    """

    flops: float
    accuracy: float
    difference: Interval


@dataclass(frozen=True)
class BaselineRow:
    """A baseline (`prune.baselines`) on the samples of the `AccuracyReport`.

    Attributes:
        name, source, setting: of `prune.baselines.baseline.Baseline`.
        edges, flops: shares of the dense model's, counted.
        accuracies: in percent, one per seed if it is drawn at random.
        difference: the plan's accuracy minus the baseline's (its best seed's), in points.
        p_value: exact McNemar test of that difference, by video.
        on_top: with the plan on top, where the two go together.
    """

    name: str
    source: str
    setting: str
    edges: float
    flops: float
    accuracies: tuple[float, ...]
    difference: Interval
    p_value: float
    on_top: ComposedRow | None = None


@dataclass(frozen=True)
class SearchReport:
    """How the plan was found.

    Attributes:
        samples, videos: calibration samples, and how many videos they are about.
        points: what was tried (`prune.plan.front.Point`), the dense model among them.
        harms: what each removed pathway was measured to do.
        forwards, exhaustive: runs over single samples that the search took, and that backward
            elimination would have taken.
        budget: what was asked for.
        warning: why the budget may not be trusted (`SearchResult.warning`).
        open: how many of the samples are open.
    """

    samples: int
    videos: int
    points: tuple[Point, ...]
    harms: tuple[Harm, ...]
    forwards: int
    exhaustive: int
    budget: Budget
    warning: str | None
    open: int = 0

    @staticmethod
    def of(found: SearchResult) -> "SearchReport":
        """The report of a finished search."""
        given = found.dense.given
        return SearchReport(
            given,
            found.dense.videos or given,
            front(found),
            found.harms,
            found.forwards,
            found.exhaustive,
            found.budget,
            found.warning,
            # A sample counts once, at however many numbers of frames it was run.
            found.dense.open * given // found.dense.samples,
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
class Audit:
    """The outcome of `prune audit`, whose page stands beside the report.

    Attributes:
        outcome: of all limits together.
        findings: each limit, and what was measured against it.
        explained, answered: samples whose evidence and whose answers were compared.
        command: what was typed.
    """

    outcome: Outcome
    findings: tuple[Finding, ...]
    explained: int
    answered: int
    command: str


@dataclass(frozen=True)
class Result:
    """The content of `prune_report.json`.

    Attributes:
        plan: name and SHA-256 of the plan.
        kept_edges, causal_edges: of the prompts below.
        prompt_runs: layout of the prompt of median length, on which edges and costs were counted
            (`prune.layout.segments.Segments.runs`).
        search: how the plan was found, if it was searched.
        baselines: other methods at the same cost.
        replies: to open samples, if there are any; `accuracy` is None if there are no others.
        turns: later turns of conversations, if samples have turns before their questions.
        frame_counts: at every number of frames, if there are several; `accuracy` and everything
            else was then measured at the one where the plan loses most.
        asked: what the flipped samples asked, worst first.
        shapes: what prompts of this and of more frames cost, counted.
        latency: of one request of the samples' number of frames.
        launched: launch counts of that request.
        conditions: device, versions and settings, as needed to repeat the measurement.
        failed: reason by id of each held-out sample that could not be used.
        benched: what `prune bench --report` measured later, by number of frames.
        benched_on: its conditions.
        served: what `prune bench --endpoint --report` measured later.
        audit: what `prune audit` found later.
    """

    model: dict[str, Any]
    plan: dict[str, str]
    kept_edges: int
    causal_edges: int
    prompt_runs: tuple[tuple[int, int, int], ...]
    flow: Flow | None
    search: SearchReport | None
    accuracy: AccuracyReport | None
    asked: tuple[FlipDetail, ...]
    baselines: tuple[BaselineRow, ...]
    cost: tuple[CostRow, ...]
    shapes: tuple[Shape, ...]
    latency: tuple[LatencyRow, ...]
    launched: LaunchCounts | None
    conditions: dict[str, str]
    replies: RepliesReport | None = None
    turns: TurnsReport | None = None
    failed: dict[str, str] = field(default_factory=dict)
    benched: tuple[BenchRow, ...] = ()
    benched_on: dict[str, str] = field(default_factory=dict)
    frame_counts: FrameCountsReport | None = None
    served: LoadReport | None = None
    audit: Audit | None = None
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
        data = read_json(path, "a prune report", MAX_BYTES)
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            raise BadInputError(
                f"{path}: not a prune report of schema {SCHEMA_VERSION} but of {version}: export "
                "the model again"
            )
        try:
            return TypeAdapter(Result).validate_json(path.read_bytes(), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            place = "/".join(str(part) for part in first["loc"])
            raise BadInputError(f"{path}: not a prune report: /{place}: {first['msg']}") from None
