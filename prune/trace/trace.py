"""`Trace`: a finished journal as arrays, and the stage that writes one."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, UsageError
from prune.inputs.frame_counts import frame_counts
from prune.inputs.samples import Sample
from prune.journal.journal import read_journal
from prune.journal.records import (
    check_usable,
    data_identity,
    failed_of,
    model_identity,
    recorded,
)
from prune.journal.write import write_records
from prune.layout.freezing import find_traced
from prune.layout.pathways import Pathway
from prune.plan.model_id import ModelId
from prune.trace.ask import PromptStyle
from prune.trace.knockout import Knockouts
from prune.trace.sample import CHOICE, trace_sample
from prune.trace.windows import Style, style_windows

SCHEMA_VERSION = 6
FOLDER = "trace"


@dataclass(frozen=True)
class Trace:
    """The effects of knockouts on a model's answers.

    Attributes:
        header: identity of model, data and settings.
        records: one per sample, in the order of the data set (`prune.trace.sample.trace_sample`).
    """

    run: Path
    header: dict[str, Any]
    records: list[dict[str, Any]]

    @staticmethod
    def load(run: str | Path) -> "Trace":
        """Read the trace of a run folder; raises `BadInputError` if it is missing or damaged."""
        run = Path(run)
        header, records, _ = read_journal(run / FOLDER, "trace")
        if (schema := header.get("schema_version")) != SCHEMA_VERSION:
            raise BadInputError(
                f"{run / FOLDER}: a trace of schema {schema}, written by another version of prune, "
                f"which this one, of schema {SCHEMA_VERSION}, does not read: trace again into a "
                "new --out"
            )
        trace = Trace(run, header, records)
        trace._check()
        return trace

    def _check(self) -> None:
        """Raise `BadInputError` unless the header has its fields in their form."""
        header = self.header
        try:
            fine = (
                all(isinstance(name, str) for name in header["samples"])
                and all(type(count) is int for count in self.frame_counts)
                and isinstance(header["heads"], list)
                and isinstance(header["data_sha256"], str)
                and bool(self.frame_counts and self.pathways() and self.windows() and self.data)
            )
        except (KeyError, TypeError, ValueError, AttributeError, UsageError):
            fine = False
        if not fine:
            raise BadInputError(
                f"{self.run / FOLDER}/header.json: damaged; trace again into a new --out"
            )

    @property
    def model(self) -> ModelId:
        """The model that was traced."""
        return ModelId.model_validate(self.header["model"])

    @property
    def frame_counts(self) -> tuple[int, ...]:
        """Numbers of frames at which every sample was traced, in the order given."""
        given = self.header["num_frames"]
        return tuple(given) if isinstance(given, list) else (given,)

    @property
    def data(self) -> Path:
        """The data set that was traced."""
        return self.run.joinpath(self.header["data"]).resolve()

    @property
    def traced(self) -> list[dict[str, Any]]:
        """Cases whose knockouts were run, with the `id`, `task` and `video` of their sample.

        `number` is the place of the case in its sample, from 1: the n-th anchor.
        """
        return [
            {**{key: record[key] for key in ("id", "task", "video")}, "number": number, **case}
            for record in self.records
            for number, case in enumerate(record.get("cases", ()), 1)
            if "knockouts" in case
        ]

    @property
    def failed(self) -> dict[str, str]:
        """Reason by id of each sample that could not be used."""
        return failed_of(self.records)

    @property
    def per_head(self) -> bool:
        """Whether KV heads were cut one at a time."""
        return bool(self.header["heads"] != [None])

    def pathways(self) -> list[Pathway]:
        """The pathways that were knocked out."""
        return [find_traced(name) for name in self.header["pathways"]]

    def windows(self) -> list[list[int]]:
        """The layers of every knockout, `W` lists."""
        style, window = Style(self.header["style"]), self.header["window"]
        return style_windows(style, window, self.model.num_layers)

    def relative_change(
        self, pathway: str, task: str | None = None, frames: int | None = None
    ) -> NDArray[np.float64]:
        """Change of the answer's probability in percent of itself (2510.13251, eq. 4).

        Args:
            pathway: by name.
            task: only samples of this one.
            frames: only cases with so many, where there are several numbers of frames.

        Returns:
            `[N, W]`, or `[N, W, H]` where KV heads were cut one at a time.
        """
        rows = [
            100 * (np.array(case["knockouts"][pathway]["p_answer"]) / case["p_answer"] - 1)
            for case in self.traced
            if task in (None, case["task"]) and frames in (None, case.get("frames"))
        ]
        shape = (len(self.windows()), *([len(self.header["heads"])] if self.per_head else []))
        return np.array(rows).reshape(len(rows), *shape)

    def harm(self, pathway: str) -> NDArray[np.float64]:
        """How much a pathway matters in each layer, in percent of the answer's probability, `[L]`.

        It is the loss of the task that needs it most, at the number of frames at which it does; a
        knockout that helps counts as 0. A layer
        matters at most as much as the least harmful window that contains it: a window that can be
        cut without harm clears all its layers. In a layer that no window contains, it is infinite.

        Raises:
            BadInputError: KV heads were cut one at a time, which does not measure all together, or
                the model was traced under a plan.
        """
        if self.per_head:
            raise BadInputError(f"{self.run}: a plan needs a trace without --per-head")
        if "keep" in self.header:
            raise BadInputError(f"{self.run}: a plan needs a trace of the dense model, not --keep")
        groups = sorted({(case["task"], case.get("frames")) for case in self.traced}, key=str)
        change = np.array([self.relative_change(pathway, *group).mean(0) for group in groups])
        fall = np.maximum(0, -change.min(0))
        harm = np.full(self.model.num_layers, np.inf)
        for window, loss in zip(self.windows(), fall, strict=True):
            harm[window] = np.minimum(harm[window], loss)
        return harm

    def counts(self) -> dict[str, int]:
        """Numbers of samples: all, answered correctly, traced and failed; and of cases.

        Cases are traced prompts: one per traced sample, or one per anchor of its reply. `replies`
        are those of a whole reply.
        """
        cases = [case for record in self.records for case in record.get("cases", ())]
        return {
            "samples": len(self.records),
            "correct": sum(bool(case.get("correct")) for case in cases),
            "traced": len({case["id"] for case in self.traced}),
            "failed": len(self.failed),
            "cases": len(self.traced),
            "replies": sum("reply" in case for case in cases),
        }


def _header(
    opened: LoadedModel,
    data: Path,
    run: Path,
    samples: Sequence[Sample],
    counts: Sequence[int],
    which: str,
    knockouts: Knockouts,
    asking: PromptStyle,
    keep: str | None,
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        **model_identity(opened),
        **data_identity(samples),
        # Relative, so that a run folder that moves with its data still finds it.
        "data": os.path.relpath(data, run),
        "num_frames": counts[0] if len(counts) == 1 else list(counts),
        "which": which,
        "asking": asking.identity,
        "pathways": [p.name for p in knockouts.pathways],
        "style": knockouts.style.value,
        "window": knockouts.window,
        "heads": list(knockouts.heads),
        "exact_reference": knockouts.exact_reference,
        **({} if keep is None else {"keep": keep}),
    }


def write_trace(
    opened: LoadedModel,
    data: Path,
    run: Path,
    samples: Sequence[Sample],
    knockouts: Knockouts,
    num_frames: int | Sequence[int] = 8,
    which: str = "correct",
    on_done: Callable[[int], None] = lambda n: None,
    asking: PromptStyle = CHOICE,
    keep: str | None = None,
) -> Trace:
    """Trace `samples` into `run/trace`, resuming where an earlier call stopped.

    Under `torchrun` the samples are split over its processes.

    A sample whose clip cannot be decoded or whose logits are not finite is recorded with the reason
    and counts nowhere. `keep` says for the header which plan `knockouts.under` is. With several
    numbers of frames each sample is traced at each of them, in cases that name it as `frames`.

    Raises:
        RefusedError: the folder holds a trace of something else, or the tokenizer cannot be asked
            so: then nothing is written.
        BadInputError: no sample could be used.
        NumericError: the logits of every sample are NaN or infinite.
    """
    asking.check(opened.processor, samples)
    counts = frame_counts(num_frames)
    header = _header(opened, data, run, samples, counts, which, knockouts, asking, keep)

    def trace_at(sample: Sample, count: int) -> dict[str, Any]:
        return trace_sample(opened.model, opened.processor, sample, count, knockouts, which, asking)

    def trace_one(sample: Sample) -> dict[str, Any]:
        if len(counts) == 1:
            return trace_at(sample, counts[0])
        found = [(count, case) for count in counts for case in trace_at(sample, count)["cases"]]
        return {"cases": [{"frames": count, **case} for count, case in found]}

    each = recorded(trace_one)
    records = write_records(run / FOLDER, "trace", header, samples, each, on_done)
    trace = Trace(run, header, records)
    check_usable(trace.records)
    if not trace.traced:
        if asking.identity["way"] == "own reply":
            raise BadInputError(f"{data}: none of {len(samples)} replies has an anchor")
        raise BadInputError(
            f"{data}: none of {len(samples)} samples is {which} under the dense model: "
            "nothing to trace (see --samples)"
        )
    return trace
