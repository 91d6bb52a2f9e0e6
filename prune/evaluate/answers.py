"""The answers of a model under a plan or a mask: one `Answer` per sample."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prune.evaluate.forced import check_reply, forced, replies_to
from prune.inputs.encode import Clip, check_samples, decode, encode, letter_ids, shape_of
from prune.inputs.failures import Failure
from prune.inputs.replying import DEFAULT_REPLYING, Replying
from prune.inputs.samples import Sample
from prune.inputs.video_key import video_keys
from prune.layout.reach import Reach
from prune.layout.segments import Role, Segments
from prune.results.answer import Answer
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture, next_logits
from prune.runtime.prefill import pruned_states

BATCH = 32
"""Samples that run together."""

OPEN_BATCH = 8
"""Open samples that run together: each needs the logits of every token of its reply."""


@dataclass(frozen=True)
class EncodedBatch:
    """A batch of samples whose clips are decoded and encoded, all with options or all open.

    Attributes:
        videos: keys of the samples' videos (`prune.inputs.video_key`).
        replies: tokens of the reply that each open sample is followed by, whose prompts in `replay`
            have the reply behind them (`prune.evaluate.forced`); none of samples with options.
    """

    samples: tuple[Sample, ...]
    videos: tuple[str, ...]
    replay: Replay
    replies: tuple[tuple[int, ...], ...] = ()

    @property
    def count(self) -> int:
        """How many of the last tokens are read: those that predict the longest reply, or 1."""
        return max(map(len, self.replies), default=1)


def prepare(
    model: Any,
    processor: Any,
    samples: Sequence[Sample],
    num_frames: int,
    batch_size: int,
    on_done: Callable[[int], None] = lambda n: None,
    replying: Replying = DEFAULT_REPLYING,
) -> tuple[list[EncodedBatch], dict[str, str]]:
    """Decode and encode samples, in batches.

    Args:
        model: dense; it also replies to open samples.
        processor: the model's.
        samples: in order.
        num_frames: of every clip.
        batch_size: most samples that run together.
        on_done: is told of each sample.
        replying: by which replies open samples are followed.

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
            for (is_open, *_), alike in groupby(usable, _together):
                group = list(alike)
                size = OPEN_BATCH if is_open else batch_size
                for first in range(0, len(group), size):
                    part = group[first : first + size]
                    batches += _encode(model, processor, part, failed, replying)
            usable.clear()
        on_done(1)
    return batches, failed


def _together(one: tuple[Sample, Clip]) -> tuple[Any, ...]:
    """What samples of one batch have in common."""
    return one[0].is_open, *shape_of(*one)


def _encode(
    model: Any,
    processor: Any,
    usable: list[tuple[Sample, Clip]],
    failed: dict[str, str],
    replying: Replying,
) -> list[EncodedBatch]:
    """One batch, or none if no sample can be encoded; those that cannot are added to `failed`."""
    group, clips = zip(*usable, strict=True)
    try:
        inputs = encode(processor, group, clips)
        videos = tuple(video_keys(group))
        if not group[0].is_open:
            return [EncodedBatch(group, videos, capture(model, processor, inputs))]
        replies = replies_to(model, processor, inputs, group, replying)
        for reply in replies:
            check_reply(reply, replying)
        replay = forced(model, processor, inputs, replies)
        return [EncodedBatch(group, videos, replay, tuple(map(tuple, replies)))]
    except Exception as error:
        failure = Failure.of(error)
        if len(usable) == 1:
            failed[group[0].id] = failure.reason
            return []
    # One sample is enough to fail a batch: each is tried alone.
    alone = [
        batch for one in usable for batch in _encode(model, processor, [one], failed, replying)
    ]
    fine = {batch.samples[0].id for batch in alone}
    rest = [one for one in usable if one[0].id in fine]
    if 0 < len(rest) < len(usable):
        return _encode(model, processor, rest, failed, replying)
    return alone


def typical_prompt(batches: Sequence[EncodedBatch]) -> Segments:
    """The layout of the prompt of median length, on which edges and costs are counted.

    Replies are not part of it: they are decoded.
    """
    return _typical(batches)[0]


def typical_sample(batches: Sequence[EncodedBatch]) -> Sample:
    """The sample of `typical_prompt`."""
    return _typical(batches)[1]


def _typical(batches: Sequence[EncodedBatch]) -> tuple[Segments, Sample]:
    rows = [
        (row.resized(row.shape[1] - row.count(Role.ANSWER)), sample)
        for b in batches
        for row, sample in zip(
            map(b.replay.segments.row, range(len(b.samples))), b.samples, strict=True
        )
    ]
    return sorted(rows, key=lambda one: one[0].shape[1])[len(rows) // 2]


RunBatch = Callable[[EncodedBatch], Tensor]
"""Runs a batch of prompts: final states of the last `batch.count` tokens, `[B, count, d]`. See
`under`."""


def under(reach: Reach) -> RunBatch:
    """Run prompts under a reach table, as an export does: without dead states."""
    return lambda batch: pruned_states(batch.replay, reach, batch.count)


def answer(
    model: Any,
    processor: Any,
    batches: Iterable[EncodedBatch],
    run: RunBatch,
    on_done: Callable[[int], None] = lambda n: None,
) -> list[Answer]:
    """Answer every prepared sample with options, from the states that `run` returns."""
    answers = []
    with seam(model):
        for batch in batches:
            found = next_logits(model, run(batch)[:, -1]).cpu()
            for sample, video, logits in zip(batch.samples, batch.videos, found, strict=True):
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
