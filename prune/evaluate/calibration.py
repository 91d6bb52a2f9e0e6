"""Calibration samples, on which a search measures its plans."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, NumericError, UsageError
from prune.evaluate.answers import BATCH, EncodedBatch, answer, prepare, typical_prompt, under
from prune.evaluate.clusters import codes_of, spread
from prune.evaluate.existence import is_there
from prune.evaluate.questions import Questions
from prune.evaluate.replies import Replies
from prune.inputs.replying import DEFAULT_REPLYING, Replying
from prune.inputs.samples import Sample
from prune.layout.reach import Reach, dense_reach
from prune.plan.budget import Hopeless, Score
from prune.plan.cost import Geometry
from prune.plan.draft import Problem
from prune.results.answer import Answer
from prune.runtime.attention import seam
from prune.runtime.resume import ResumableRun, layers_to_keep

KEPT_BYTES = 2**30
"""Memory for states between layers, from which the next plan resumes."""

PART = 128
"""Plans are ranked on every second batch, unless that is fewer samples than this."""

Seen = NDArray[np.float64]
"""Per sample, `[N, 6]`: correct (0 or 1) and probability of the true option, NaN of an open sample;
divergence from dense; task number; share of the dense model's choice or tokens that stays; and the
share of them that is lost, or of their probability, if that is more."""


@dataclass
class Calibration:
    """Calibration samples whose clips are encoded, with the dense model's answers to them.

    Attributes:
        batches: by task, so that a plan that harms one task shows it within a few batches.
        dense: the dense model's answers, one list per batch; empty of an open batch.
        told: the open batches.
    """

    opened: LoadedModel
    batches: list[EncodedBatch]
    dense: list[list[Answer]]
    told: Replies
    _runs: list[ResumableRun] = field(init=False)
    _order: list[int] = field(init=False)
    _unchanged: list[Seen] = field(init=False)
    _tasks: dict[str, float] = field(init=False)
    _videos: list[NDArray[np.int64]] = field(init=False)
    _there: list[NDArray[np.float64]] = field(init=False)

    def __post_init__(self) -> None:
        hidden = [batch.replay.kwargs["inputs_embeds"] for batch in self.batches]
        size = sum(x.numel() * x.element_size() for x in hidden)
        layers = layers_to_keep(self.opened.id.num_layers, size, KEPT_BYTES)
        self._runs = [ResumableRun(batch.replay, layers) for batch in self.batches]
        self._order = list(range(len(self.batches)))
        tasks = sorted({sample.task for batch in self.batches for sample in batch.samples})
        self._tasks = {task: float(number) for number, task in enumerate(tasks)}
        self._unchanged = [
            _seen(answers, answers, self._tasks) if answers else _untouched(batch, self._tasks)
            for batch, answers in zip(self.batches, self.dense, strict=True)
        ]
        # 1 if what a question asks for is there, 0 if it is not, NaN if it asks for nothing.
        self._there = [
            np.array([is_there(sample) for sample in batch.samples], float)
            for batch in self.batches
        ]
        videos = [video for batch in self.batches for video in batch.videos]
        self._videos = np.split(
            codes_of(videos, len(videos)),
            np.cumsum([len(batch.samples) for batch in self.batches])[:-1],
        )

    @property
    def score(self) -> Score:
        """The dense model's."""
        every = range(len(self.batches))
        return self._score(self._unchanged, every, every)

    def problem(self) -> Problem:
        """The problem that a search solves."""
        whole = Problem(
            self.opened.id,
            typical_prompt(self.batches),
            Geometry.of(self.opened.model),
            self.score,
            self.measure,
        )
        part = self._ranking()
        return whole if part == self._every() else replace(whole, part=self._part_of(whole, part))

    @property
    def ranking(self) -> list[EncodedBatch]:
        """The batches that rank plans."""
        return [self.batches[index] for index in self._ranking()]

    def _every(self) -> range:
        return range(len(self.batches))

    def _ranking(self) -> range:
        """Every second batch, or all where they are few."""
        # Batches are in order of their tasks, so tasks of two batches or more are in it.
        part = range(0, len(self.batches), 2)
        few = sum(len(self.batches[index].samples) for index in part) < PART
        return self._every() if few else part

    def mending_problem(self) -> Problem:
        """The same problem with all batches that ask what exists as its part.

        Raises:
            UsageError: no calibration sample asks for an absent thing.
        """
        asking = [i for i, there in enumerate(self._there) if not np.isnan(there).all()]
        if not any((there == 0).any() for there in self._there):
            raise UsageError(
                "--objective hallucination needs questions about absent things, with the options "
                "yes and no: the calibration samples have none"
            )
        whole = replace(self.problem(), part=None)
        return replace(whole, part=self._part_of(whole, asking))

    def _part_of(self, whole: Problem, among: Sequence[int]) -> Problem:
        return replace(
            whole,
            dense=self._score(self._unchanged, among, among),
            measure=lambda reach, hopeless: self.measure(reach, hopeless, among),
        )

    def measure(
        self, reach: Reach, hopeless: Hopeless, among: Sequence[int] | None = None
    ) -> Score:
        """`prune.plan.budget.Measure`; begins with the batches that lost most last time.

        Args:
            reach, hopeless: see there.
            among: indices of the batches to run; all if None.
        """
        among = range(len(self.batches)) if among is None else among
        seen = list(self._unchanged)
        fall = np.zeros(len(seen))
        score, run = self._score(seen, (), among), list[int]()
        for index in [index for index in self._order if index in among]:
            seen[index] = self._run(index, reach)
            run.append(index)
            lost = self._unchanged[index] - seen[index]
            fall[index] = (lost[:, 1] if self.dense[index] else -lost[:, 5]).mean()
            score = self._score(seen, run, among)
            if hopeless(score):
                break
        self._order.sort(key=lambda index: -fall[index])
        return score

    def _score(self, seen: Sequence[Seen], run: Sequence[int], among: Sequence[int]) -> Score:
        """The score of the batches `among`, of which some were `run`."""
        now, before = (np.concatenate([rows[i] for i in among]) for rows in (seen, self._unchanged))
        videos = np.concatenate([self._videos[i] for i in among])
        choice = ~np.isnan(before[:, 0])
        there = np.concatenate([self._there[i] for i in among])
        false = {is_there: 1 - now[there == is_there, 1] for is_there in (0, 1)}
        accuracy, expected = now[choice, :2].mean(0).tolist() if choice.any() else (0.0, 0.0)
        count = sum(len(seen[index]) for index in run)
        tasks, lost = now[:, 3], before - now
        deviation, worst = self._losses(lost[choice, 1], tasks[choice], videos[choice])
        apart, least = self._losses(now[:, 5], tasks, videos)
        # As many samples as there are in all would have the error of those with options.
        weight = float((len(now) / max(1, choice.sum())) ** 0.5)
        return Score(
            accuracy=100 * accuracy,
            expected=100 * expected,
            kl=float(now[:, 2].mean()),
            samples=count,
            spread=100 * deviation * weight,
            worst=100 * worst,
            videos=len(np.unique(videos)),
            agreement=100 * float(now[:, 4].mean()),
            disagreement=100 * float(now[:, 5].mean()),
            agreement_spread=100 * apart,
            agreement_worst=100 * least,
            open=int((~choice).sum()),
            absent=len(false[0]),
            present=len(false[1]),
            false_yes=100 * float(false[0].mean()) if len(false[0]) else 0.0,
            false_no=100 * float(false[1].mean()) if len(false[1]) else 0.0,
        )

    @staticmethod
    def _losses(
        lost: NDArray[np.float64], tasks: NDArray[np.float64], videos: NDArray[np.int64]
    ) -> tuple[float, float]:
        """The spread of what samples lose, and the mean loss of the task that loses most."""
        if not len(lost):
            return 0.0, 0.0
        codes = codes_of([str(video) for video in videos], len(lost))
        return spread(lost, codes), max(float(lost[tasks == t].mean()) for t in np.unique(tasks))

    def _run(self, index: int, reach: Reach) -> Seen:
        model, processor = self.opened.model, self.opened.processor
        batch, dense = self.batches[index], self.dense[index]

        def run(batch: EncodedBatch) -> Tensor:
            return self._runs[index].states(reach, batch.count)

        if dense:
            return _seen(answer(model, processor, [batch], run), dense, self._tasks)
        with seam(model):
            found = self.told.follow_batch(batch, run)
        if len(found) < len(batch.samples):
            raise NumericError(next(iter(self.told.failed.values())))
        return np.array(
            [
                (
                    np.nan,
                    np.nan,
                    one.mean_kl,
                    self._tasks[one.task],
                    one.agreement / 100,
                    one.lost / 100,
                )
                for one in found
            ]
        )


def calibrate(
    opened: LoadedModel,
    samples: Sequence[Sample],
    num_frames: int,
    on_done: Callable[[int], None] = lambda n: None,
    replying: Replying = DEFAULT_REPLYING,
) -> Calibration:
    """Encode calibration samples, and answer or reply to them densely.

    Raises:
        BadInputError: none of them can be used.
        NumericError: the logits of each are NaN or infinite.
    """
    by_task = sorted(samples, key=lambda sample: sample.task)
    batches, failed = prepare(
        opened.model, opened.processor, by_task, num_frames, BATCH, on_done, replying
    )
    if not batches:
        raise BadInputError(f"no calibration sample could be used: {next(iter(failed.values()))}")
    told = Replies(opened.model, [batch for batch in batches if batch.replies])
    asked = Questions(opened, num_frames, [b for b in batches if not b.replies], failed)
    run = under(dense_reach(opened.id.num_layers))
    answers = {a.id: a for a in asked.ask(run)} if asked.batches else {}
    usable = [*asked.batches, *told.batches]
    dense = [[answers[s.id] for s in batch.samples if s.id in answers] for batch in usable]
    return Calibration(opened, usable, dense, told)


def _untouched(batch: EncodedBatch, tasks: dict[str, float]) -> Seen:
    """What is seen of an open batch under the dense model."""
    return np.array(
        [(np.nan, np.nan, 0.0, tasks[sample.task], 1.0, 0.0) for sample in batch.samples]
    )


def _seen(answers: Sequence[Answer], dense: Sequence[Answer], tasks: dict[str, float]) -> Seen:
    rows = []
    for now, before in zip(answers, dense, strict=True):
        p, q = np.array(before.p_options), np.array(now.p_options)
        kl = float((p * np.log(np.maximum(p, 1e-12) / np.maximum(q, 1e-12))).sum())
        same, fall = now.choice == before.choice, float(p[before.choice] - q[before.choice])
        lost = max(1.0 - same, fall)
        rows.append((now.correct, now.p_true, kl, tasks[now.task], same, lost))
    return np.array(rows, np.float64)
