"""Calibration samples, on which a search measures its plans."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.evaluate.answers import BATCH, EncodedBatch, answer, prepare, typical_prompt, under
from prune.evaluate.clusters import codes_of, spread
from prune.evaluate.questions import Questions
from prune.inputs.samples import Sample
from prune.layout.pathways import Reach, dense_reach
from prune.plan.budget import Hopeless, Score
from prune.plan.cost import Geometry
from prune.plan.draft import Problem
from prune.results.answer import Answer
from prune.runtime.resume import ResumableRun, layers_to_keep

KEPT_BYTES = 2**30
"""Memory for states between layers, from which the next plan resumes."""

Seen = NDArray[np.float64]
"""Per sample, `[N, 4]`: correct (0 or 1), probability of the true option, divergence from dense,
and task number."""


@dataclass
class Calibration:
    """Calibration samples whose clips are encoded, with the dense model's answers to them.

    Attributes:
        batches: by task, so that a plan that harms one task shows it within a few batches.
        dense: the dense model's answers, one list per batch.
    """

    opened: LoadedModel
    batches: list[EncodedBatch]
    dense: list[list[Answer]]
    _runs: list[ResumableRun] = field(init=False)
    _order: list[int] = field(init=False)
    _unchanged: list[Seen] = field(init=False)
    _tasks: dict[str, float] = field(init=False)
    _videos: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        hidden = [batch.replay.kwargs["inputs_embeds"] for batch in self.batches]
        size = sum(x.numel() * x.element_size() for x in hidden)
        layers = layers_to_keep(self.opened.id.num_layers, size, KEPT_BYTES)
        self._runs = [ResumableRun(batch.replay, layers) for batch in self.batches]
        self._order = list(range(len(self.batches)))
        tasks = sorted({a.task for answers in self.dense for a in answers})
        self._tasks = {task: float(number) for number, task in enumerate(tasks)}
        self._unchanged = [_seen(answers, answers, self._tasks) for answers in self.dense]
        videos = [video for batch in self.batches for video in batch.videos]
        self._videos = codes_of(videos, len(videos))

    @property
    def score(self) -> Score:
        """The dense model's."""
        return self._score(self._unchanged, range(len(self.batches)))

    def problem(self) -> Problem:
        """The problem that a search solves."""
        return Problem(
            self.opened.id,
            typical_prompt(self.batches),
            Geometry.of(self.opened.model),
            self.score,
            self.measure,
        )

    def measure(self, reach: Reach, hopeless: Hopeless) -> Score:
        """`prune.plan.budget.Measure`; begins with the batches that lost most last time."""
        seen = list(self._unchanged)
        fall = np.zeros(len(seen))
        score = self.score
        for count, index in enumerate(self._order, 1):
            answers = self._answers(index, reach)
            seen[index] = _seen(answers, self.dense[index], self._tasks)
            fall[index] = (self._unchanged[index] - seen[index])[:, 1].mean()
            score = self._score(seen, self._order[:count])
            if hopeless(score):
                break
        self._order.sort(key=lambda index: -fall[index])
        return score

    def _score(self, seen: Sequence[Seen], run: Sequence[int]) -> Score:
        now, before = np.concatenate(list(seen)), np.concatenate(self._unchanged)
        accuracy, expected, kl, _ = now.mean(0).tolist()
        count = sum(len(seen[index]) for index in run)
        tasks, lost = now[:, 3], (before - now)[:, 1]
        worst = max(float(lost[tasks == task].mean()) for task in self._tasks.values())
        return Score(
            accuracy=100 * accuracy,
            expected=100 * expected,
            kl=kl,
            samples=count,
            spread=100 * spread(lost, self._videos),
            worst=100 * worst,
            videos=int(self._videos.max()) + 1,
        )

    def _answers(self, index: int, reach: Reach) -> list[Answer]:
        model, processor = self.opened.model, self.opened.processor
        run = self._runs[index]
        return answer(model, processor, [self.batches[index]], lambda batch: run.states(reach))


def calibrate(
    opened: LoadedModel,
    samples: Sequence[Sample],
    num_frames: int,
    on_done: Callable[[int], None] = lambda n: None,
) -> Calibration:
    """Encode calibration samples and answer them densely.

    Raises:
        BadInputError: none of them can be used.
        NumericError: the logits of each are NaN or infinite.
    """
    by_task = sorted(samples, key=lambda sample: sample.task)
    batches, failed = prepare(opened.model, opened.processor, by_task, num_frames, BATCH, on_done)
    if not batches:
        raise BadInputError(f"no calibration sample could be used: {next(iter(failed.values()))}")
    asked = Questions(opened, num_frames, batches, failed)
    answers = {a.id: a for a in asked.ask(under(dense_reach(opened.id.num_layers)))}
    dense = [[answers[sample.id] for sample in batch.samples] for batch in asked.batches]
    return Calibration(opened, asked.batches, dense)


def _seen(answers: Sequence[Answer], dense: Sequence[Answer], tasks: dict[str, float]) -> Seen:
    rows = []
    for now, before in zip(answers, dense, strict=True):
        p, q = np.array(before.p_options), np.array(now.p_options)
        kl = float((p * np.log(np.maximum(p, 1e-12) / np.maximum(q, 1e-12))).sum())
        rows.append((now.correct, now.p_true, kl, tasks[now.task]))
    return np.array(rows, np.float64)
