"""What a model answers under a plan or a mask: one `Answer` a sample."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prune.attention import seam
from prune.errors import PruneError
from prune.pathways import Reach
from prune.runtime.prefill import pruned_logits
from prune.runtime.replay import Clip, Replay, capture, decode, encode, letter_ids
from prune.samples import Sample


@dataclass(frozen=True)
class Answer:
    """The model's answer to one sample.

    Attributes:
        choice: index of the most likely option (accuracy restricted to the options).
        correct: whether that is the true option.
        free_correct: whether the most likely token of the whole vocabulary is the true letter.
        p_true: probability of the true option, normalised over the options.
        p_options: the same of every option.
    """

    id: str
    task: str
    choice: int
    correct: bool
    free_correct: bool
    p_true: float
    p_options: tuple[float, ...]


@dataclass(frozen=True)
class Prepared:
    """A batch of samples whose clips are decoded and encoded."""

    samples: tuple[Sample, ...]
    replay: Replay


def prepare(
    model: Any,
    processor: Any,
    samples: Sequence[Sample],
    num_frames: int,
    batch_size: int,
    on_done: Callable[[int], None] = lambda n: None,
) -> tuple[list[Prepared], dict[str, str]]:
    """Decode and encode samples, in batches.

    Returns:
        The batches, and for each sample that could not be used its id and the reason.
    """
    usable: list[tuple[Sample, Clip]] = []
    failed: dict[str, str] = {}
    batches: list[Prepared] = []
    for index, sample in enumerate(samples, 1):
        try:
            usable.append((sample, decode(sample, num_frames)))
        except PruneError as error:
            failed[sample.id] = str(error)
        if usable and (len(usable) == batch_size or index == len(samples)):
            group, clips = zip(*usable, strict=True)
            batches.append(
                Prepared(group, capture(model, processor, encode(processor, group, clips)))
            )
            usable.clear()
        on_done(1)
    return batches, failed


RunBatch = Callable[[Prepared], Tensor]
"""Runs a batch of prompts: next-token logits `[B, V]`. See `under`."""


def under(reach: Reach) -> RunBatch:
    """Run prompts under a reach table, as an export does: without dead states."""
    return lambda batch: pruned_logits(batch.replay, reach)


def answer(
    model: Any,
    processor: Any,
    batches: Iterable[Prepared],
    run: RunBatch,
    on_done: Callable[[int], None] = lambda n: None,
) -> list[Answer]:
    """Answer every prepared sample from the logits that `run` returns."""
    answers = []
    with seam(model):
        for batch in batches:
            for sample, logits in zip(batch.samples, run(batch).cpu(), strict=True):
                ids = letter_ids(processor, sample.letters)
                p = torch.softmax(logits[ids], 0)
                choice = int(p.argmax())
                answers.append(
                    Answer(
                        sample.id,
                        sample.task,
                        choice,
                        choice == sample.answer,
                        int(logits.argmax()) == ids[sample.answer],
                        float(p[sample.answer]),
                        tuple(p.tolist()),
                    )
                )
            on_done(len(batch.samples))
    return answers


def accuracy(answers: Sequence[Answer]) -> float:
    """Share of answers that are right among the options, in percent."""
    return 100 * float(np.mean([a.correct for a in answers]))
