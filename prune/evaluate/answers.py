"""The answers of a model under a plan or a mask: one `Answer` per sample."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prune.inputs.encode import Clip, check_samples, decode, encode, letter_ids, shape_of
from prune.inputs.failures import Failure
from prune.inputs.samples import Sample
from prune.inputs.video_key import video_keys
from prune.layout.pathways import Reach
from prune.layout.segments import Segments
from prune.results.answer import Answer
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture
from prune.runtime.prefill import pruned_logits

BATCH = 32
"""Samples that run together."""


@dataclass(frozen=True)
class EncodedBatch:
    """A batch of samples whose clips are decoded and encoded.

    Attributes:
        videos: keys of the samples' videos (`prune.inputs.video_key`).
    """

    samples: tuple[Sample, ...]
    videos: tuple[str, ...]
    replay: Replay


def prepare(
    model: Any,
    processor: Any,
    samples: Sequence[Sample],
    num_frames: int,
    batch_size: int,
    on_done: Callable[[int], None] = lambda n: None,
) -> tuple[list[EncodedBatch], dict[str, str]]:
    """Decode and encode samples, in batches.

    Returns:
        The batches, and for each sample that could not be used its id and the reason.

    Raises:
        RefusedError: the samples cannot be encoded (`check_samples`); no clip was read.
    """
    check_samples(processor, samples)
    usable: list[tuple[Sample, Clip]] = []
    failed: dict[str, str] = {}
    batches: list[EncodedBatch] = []
    for index, sample in enumerate(samples, 1):
        try:
            usable.append((sample, decode(sample, num_frames)))
        except Exception as error:
            failed[sample.id] = Failure.of(error).reason
        if usable and (len(usable) == batch_size or index == len(samples)):
            for _, alike in groupby(usable, lambda one: shape_of(*one)):
                batches += _encode(model, processor, list(alike), failed)
            usable.clear()
        on_done(1)
    return batches, failed


def _encode(
    model: Any, processor: Any, usable: list[tuple[Sample, Clip]], failed: dict[str, str]
) -> list[EncodedBatch]:
    """One batch, or none if no sample can be encoded; those that cannot are added to `failed`."""
    group, clips = zip(*usable, strict=True)
    try:
        replay = capture(model, processor, encode(processor, group, clips))
        return [EncodedBatch(group, tuple(video_keys(group)), replay)]
    except Exception as error:
        failure = Failure.of(error)
        if len(usable) == 1:
            failed[group[0].id] = failure.reason
            return []
    # One sample is enough to fail a batch: each is tried alone.
    alone = [batch for one in usable for batch in _encode(model, processor, [one], failed)]
    fine = {batch.samples[0].id for batch in alone}
    rest = [one for one in usable if one[0].id in fine]
    return _encode(model, processor, rest, failed) if 0 < len(rest) < len(usable) else alone


def typical_prompt(batches: Sequence[EncodedBatch]) -> Segments:
    """The layout of the prompt of median length, on which edges and costs are counted."""
    rows = [b.replay.segments.row(i) for b in batches for i in range(len(b.samples))]
    return sorted(rows, key=lambda s: s.shape[1])[len(rows) // 2]


RunBatch = Callable[[EncodedBatch], Tensor]
"""Runs a batch of prompts: next-token logits `[B, V]`. See `under`."""


def under(reach: Reach) -> RunBatch:
    """Run prompts under a reach table, as an export does: without dead states."""
    return lambda batch: pruned_logits(batch.replay, reach)


def answer(
    model: Any,
    processor: Any,
    batches: Iterable[EncodedBatch],
    run: RunBatch,
    on_done: Callable[[int], None] = lambda n: None,
) -> list[Answer]:
    """Answer every prepared sample from the logits that `run` returns."""
    answers = []
    with seam(model):
        for batch in batches:
            rows = zip(batch.samples, batch.videos, run(batch).cpu(), strict=True)
            for sample, video, logits in rows:
                ids = letter_ids(processor, sample)
                p = torch.softmax(logits[ids], 0)
                choice = int(p.argmax())
                answers.append(
                    Answer(
                        sample.id,
                        sample.task,
                        choice,
                        sample.answer,
                        int(logits.argmax()) == ids[sample.answer],
                        tuple(p.tolist()),
                        video,
                    )
                )
            on_done(len(batch.samples))
    return answers


def accuracy(answers: Sequence[Answer]) -> float:
    """Share of answers that are correct among the options, in percent."""
    return 100 * float(np.mean([a.correct for a in answers]))
