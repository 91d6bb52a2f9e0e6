"""The screen of a data set: knockouts ranked by gradients, the strongest run exactly."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.inputs.samples import Sample
from prune.journal.processes import share_of
from prune.journal.progress import Progress, silent
from prune.journal.records import Record, failed_of, identity, recorded
from prune.journal.write import write_records
from prune.layout.pathways import Pathway, roles_of
from prune.runtime.attention import seam
from prune.trace.ask import TracedPrompt
from prune.trace.dense_pass import record_dense
from prune.trace.found_roles import find_marked
from prune.trace.incremental import knockout_logits
from prune.trace.sample import CHOICE
from prune.trace.screen import FADED, ScreenedPrompt, screen_prompt
from prune.trace.screening import FOLDER, SCHEMA_VERSION, Floats, ScreenCandidate, Screening
from prune.trace.windows import default_window, window_layers

TOP = 20
"""Default number of the strongest candidates that are run exactly."""


def screen_samples(
    opened: LoadedModel,
    samples: Sequence[Sample],
    run: Path,
    pathways: Sequence[Pathway],
    progress: Progress = silent,
    *,
    num_frames: int = 8,
    which: str = "correct",
    window: int | None = None,
    top: int = TOP,
    verify_all: bool = False,
    faded: Sequence[float] = FADED,
) -> Screening:
    """Screen every pathway in every layer, and knock out what ranks highest.

    Both steps keep a journal in `run/screen`; a screen that was stopped resumes. Under `torchrun`
    the samples are split over its processes.

    Args:
        opened: the dense model.
        samples: multiple-choice questions.
        run: the run folder.
        pathways: what is removed.
        progress: shows each step.
        num_frames: frames of every clip.
        which: `correct`, `wrong` or `all`: the answers that are screened.
        window: number of layers removed together, `default_window` if None.
        top: how many of the strongest are run exactly, with as many drawn evenly from the rest.
        verify_all: run all of them exactly, to measure what the screen is worth.
        faded: shares of the edges that are gone where gradients are taken.

    Raises:
        RefusedError: `run` holds another screen.
        BadInputError: no sample could be used, or none is of the requested kind.
    """
    depth = opened.id.num_layers
    width = window or default_window(depth)
    windows = [window_layers(layer, width, depth) for layer in range(depth)]
    header = {
        "schema_version": SCHEMA_VERSION,
        **identity(opened, samples),
        "num_frames": num_frames,
        "which": which,
        "pathways": [p.name for p in pathways],
        "window": width,
        "faded": list(faded),
    }

    def screen_one(case: TracedPrompt, answer: int) -> Record:
        found = screen_prompt(case.replay, pathways, answer, faded)
        return {"margin": found.margin, "change": found.change.tolist()}

    each = _over_samples(opened, num_frames, which, pathways, screen_one)
    folder = run / FOLDER / "gradients"
    with progress("Screening", share_of(len(samples))) as advance:
        records = write_records(folder, "screen", header, samples, each, advance)
    failed = failed_of(records)
    seen = [r for r in records if "change" in r]
    if not seen:
        reason = next(iter(failed.values()), f"none of them is answered {which}ly")
        raise BadInputError(f"no sample could be screened: {reason}")
    screened = [
        ScreenedPrompt(r["margin"], torch.tensor(r["change"], dtype=torch.double)) for r in seen
    ]
    predicted = _change_and_strength([s.log_probability(windows) for s in screened])
    ranked = np.argsort(-predicted[..., 1].ravel(), kind="stable")
    candidates = [ScreenCandidate(pathways[i // depth].name, int(i % depth)) for i in ranked]
    number = min(top, len(candidates))
    rest = len(candidates) if verify_all else number
    chosen = [candidates[i] for i in _drawn(len(candidates), number, rest)]

    exact_header = {**header, "candidates": [[c.pathway, c.layer] for c in chosen]}
    by_name = {p.name: p for p in pathways}

    def knock_out(case: TracedPrompt, answer: int) -> Record:
        return {"exact": _exact(case, answer, chosen, by_name, windows)}

    used = {r["id"] for r in seen}
    again = [s for s in samples if s.id in used]
    each = _over_samples(opened, num_frames, "all", pathways, knock_out)
    folder = run / FOLDER / f"exact-{len(chosen)}"
    with progress("Knocking out", share_of(len(again))) as advance:
        runs = write_records(folder, "screen", exact_header, again, each, advance)
    for record in runs:
        if "error" in record:
            raise BadInputError(
                f"{record['id']}: screened, but not a second time: {record['error']}"
            )
    table = np.array([r["exact"] for r in runs])
    exact = np.full((len(candidates), 2), np.nan)
    place = [candidates.index(c) for c in chosen]
    exact[place] = np.stack([table.mean(0), abs(table).mean(0)], 1)
    return Screening(
        header,
        candidates,
        predicted.reshape(-1, 2)[ranked],
        exact,
        number,
        _change_and_strength([s.by_head() for s in screened])[..., 1],
        {"samples": len(samples), "screened": len(seen), "failed": len(failed)},
        failed,
    )


def _drawn(size: int, top: int, others: int) -> list[int]:
    """The first `top` places of a ranking, and at most `others` spread evenly over the rest."""
    rest = np.linspace(top, size - 1, min(others, size - top)).round().astype(int)
    return [*range(top), *rest.tolist()]


def _change_and_strength(changes: Sequence[Tensor]) -> Floats:
    """Mean over samples, and mean of the sizes, on a new last axis."""
    table = torch.stack(list(changes)).numpy()
    return np.stack([table.mean(0), abs(table).mean(0)], -1)


def _over_samples(
    opened: LoadedModel,
    num_frames: int,
    which: str,
    pathways: Sequence[Pathway],
    measure: Callable[[TracedPrompt, int], Record],
) -> Callable[[Sample], Record]:
    """Wrap `measure`, which measures the model's own answer, to record a sample."""
    model, processor = opened.model, opened.processor

    def one(sample: Sample) -> Record:
        (case,) = CHOICE.cases(model, processor, sample, num_frames)
        with seam(model):
            dense = record_dense(case.replay)
            answer = int(dense.logits.argmax())
            correct = answer == case.options[sample.answer]
            if which != "all" and correct != (which == "correct"):
                return {"correct": correct}
            choice = int(dense.logits[list(case.options)].argmax())
            find_marked(dense, roles_of(pathways), choice, case.shown)
            return {"correct": correct, **measure(replace(case, replay=dense.replay), answer)}

    return recorded(one)


def _exact(
    case: TracedPrompt,
    answer: int,
    chosen: Sequence[ScreenCandidate],
    pathways: dict[str, Pathway],
    windows: Sequence[Sequence[int]],
) -> list[float]:
    """Change of the answer's log-probability by each knockout, in nats."""
    dense = record_dense(case.replay)
    before = torch.log_softmax(dense.logits, -1)[answer]
    change: dict[tuple[str, int], float] = {}
    for name in dict.fromkeys(c.pathway for c in chosen):
        layers = [c.layer for c in chosen if c.pathway == name]
        logits = knockout_logits(dense, [pathways[name]], [windows[layer] for layer in layers])[0]
        after = torch.log_softmax(logits, -1)[:, answer]
        change |= {(name, layer): float(v) for layer, v in zip(layers, after - before, strict=True)}
    return [change[c.pathway, c.layer] for c in chosen]
