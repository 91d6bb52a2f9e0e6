"""Explanations of a data set: a resumable journal, and the summary over its samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prune.errors import BadInputError, RefusedError, UsageError
from prune.evaluate.stats import mean_of
from prune.evidence.case import Case, Explainable
from prune.evidence.explain import ExplainSettings, Explanation, OnStep, explain, record_of
from prune.evidence.metrics.collateral import TreatedAnswer, treatment
from prune.evidence.metrics.correction import amcr, csr
from prune.evidence.pieces import pieces_of
from prune.evidence.sources import sources_of
from prune.inputs.samples import Sample
from prune.journal.records import Record, check_usable, data_identity, failed_of, recorded
from prune.journal.write import write_records
from prune.results.treatment import Treatment

SCHEMA_VERSION = 5
FOLDER = "evidence"

NEGLIGIBLE = 0.1
"""Below this probability of all options together, a model answers in other words."""

Draw = Callable[[Explainable, Explanation, Record], None]

Open = Callable[[Sample], Explainable]


def explain_samples(
    open_one: Open,
    identity: Mapping[str, Any],
    samples: Sequence[Sample],
    folder: Path,
    settings: ExplainSettings,
    *,
    which: str = "all",
    draw: Draw = lambda case, found, record: None,
    on_step: OnStep = lambda placed, total, best: None,
    on_done: Callable[[int], None] = lambda n: None,
) -> list[Record]:
    """Explain each sample into the journal `folder/evidence`; a run that was stopped resumes.

    Under `torchrun` the samples are split over its processes.

    Args:
        open_one: lets the model reply to a sample.
        identity: the part of the header that identifies the model.
        samples: in order.
        folder: the run's.
        settings: how samples are explained.
        which: `correct`, `wrong` or `all`: the answers that are explained; others are skipped.
        draw: called with each explanation before its record is written.
        on_step, on_done: progress inside a sample, and samples finished.

    Returns:
        One record per sample (`prune.evidence.explain.record_of`); or its id and task with `error`,
        or with why it was `skipped`.

    Raises:
        RefusedError: the folder holds another explanation.
        BadInputError: no sample could be explained.
        NumericError: the logits of every sample are NaN or infinite.
    """
    header = {
        "schema_version": SCHEMA_VERSION,
        **identity,
        **data_identity(samples),
        "which": which,
        "settings": asdict(settings),
    }

    def explain_one(sample: Sample) -> Record:
        if settings.target == "other" and len(sample.options) != 2:
            return {"skipped": "more than two options"}
        try:
            case = open_one(sample)
            if which != "all":
                if sample.is_open:
                    return {"skipped": "open: nothing says whether its reply is correct"}
                if (int(case.options().argmax()) == sample.answer) != (which == "correct"):
                    return {"skipped": f"not {which}"}
            found = explain(case, settings, on_step)
        except UsageError as error:  # Specific to this reply: others may have the target.
            raise BadInputError(str(error)) from None
        record = record_of(case, found, settings)
        if settings.text:
            assert isinstance(case, Case), "an endpoint hides no words"
            regions = found.regions if settings.removal == "masked" else None
            pieces = pieces_of(case, regions)
            record["sources"] = sources_of(case, pieces, settings.search).record
        draw(case, found, record)
        return record

    each = recorded(explain_one)
    records = write_records(folder / FOLDER, "explanation", header, samples, each, on_done)
    check_usable(records)
    return records


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """Means over the explained samples with 95% intervals by video, by task and over all.

    AMCR and CSR@10% count every sample to be corrected, including those that never were.

    Raises:
        RefusedError: no sample was explained.
    """
    explained = [r for r in records if "scores" in r]
    if not explained:
        raise RefusedError("none of the samples was explained: choose others with --samples")
    found: dict[str, Any] = {
        "samples": len(records),
        "explained": len(explained),
        "failed": failed_of(records),
        "forwards": sum(r["forwards"] for r in explained),
        "seconds": round(sum(r["seconds"] for r in explained), 3),
        "other_words": [r["id"] for r in explained if _of_options(r) < NEGLIGIBLE],
        "scores": _by_task(explained),
    }
    corrections = [
        r["correction"] for r in explained if "correction" in r and r["correct"] is False
    ]
    if corrections:
        found["correction"] = {
            "samples": len(corrections),
            "amcr": round(amcr(corrections), 6),
            "csr_10": round(csr(corrections), 6),
        }
    return found


def _of_options(record: Record) -> float:
    """Probability of all options together with the whole clip; 1 of an open question."""
    whole = record["curves"]["insertion_options"][-1]
    return sum(whole) if whole else 1.0


def treatment_of(records: Sequence[Record]) -> Treatment | None:
    """Answers corrected and broken by treating all alike; None unless the target is `other`."""
    treated = [
        TreatedAnswer.of(r) for r in records if "scores" in r and r["target"]["name"] == "other"
    ]
    return treatment(treated) if treated else None


def _by_task(explained: Sequence[Record]) -> dict[str, Any]:
    tasks = (*sorted({r["task"] for r in explained}), "all")
    table: dict[str, Any] = {}
    for task in tasks:
        rows = [r for r in explained if task in ("all", r["task"])]
        table[task] = {"n": len(rows)}
        for name in rows[0]["scores"]:
            known = [r for r in rows if r["scores"][name] is not None]
            if known:
                values, videos = [r["scores"][name] for r in known], [r["video"] for r in known]
                numbers = asdict(mean_of(values, videos)).items()
                table[task][name] = {k: v if v is None else round(v, 6) for k, v in numbers}
    return table
