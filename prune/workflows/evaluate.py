"""The workflow of `prune eval`: answers and replies of a model or an export to a data set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prune.checkpoint.load import LoadedModel, open_model, resolve
from prune.checkpoint.stored_plan import stored_plan, stored_positions
from prune.evaluate.answers import under
from prune.evaluate.paired import paired_report
from prune.evaluate.questions import Questions
from prune.inputs.frame_counts import frame_counts
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.replying import DEFAULT_REPLYING, Replying
from prune.inputs.samples import Sample
from prune.journal.progress import Progress, silent
from prune.layout.reach import dense_reach
from prune.plan.model_id import Positions
from prune.plan.plan import Plan
from prune.results.accuracy import AccuracyReport
from prune.results.answer import Answer
from prune.results.replies import RepliesReport
from prune.workflows.asked import asked_as, read_as
from prune.workflows.evaluate_replies import Told, reply_to, versus
from prune.workflows.read_clips import read_clips
from prune.workflows.select import select_samples


@dataclass(frozen=True)
class Evaluation:
    """Answers to a data set.

    Attributes:
        answers: the model's, in order; of samples with options.
        comparison: with those of another model, if there is one.
        replies: to open samples, if there are any.
        failed: the reason by id for each sample that could not be used.
        total: number of samples, those included.
        num_frames: of every clip.
        more: the same at the other numbers of frames, if there are several.
    """

    answers: list[Answer]
    comparison: AccuracyReport | None
    replies: RepliesReport | None
    failed: dict[str, str]
    total: int
    num_frames: int
    more: tuple["Evaluation", ...] = ()


def evaluate_model(
    model: str | Path,
    data: Path,
    progress: Progress = silent,
    *,
    against: str | Path | None = None,
    tasks: Sequence[str] | None = None,
    num_frames: int | Sequence[int] | None = None,
    cue: str | None = None,
    system: str | None = None,
    prompt: str | None = None,
    media: Media = DEFAULT_MEDIA,
    limit: int | None = None,
    per_task: int | None = None,
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    positions: Positions | None = None,
    replying: Replying = DEFAULT_REPLYING,
) -> Evaluation:
    """Answer the samples of a data set; an exported folder answers under its plan.

    Args:
        model: folder, hub id or embedded model.
        data: JSONL of the samples.
        progress: shows the samples read and answered.
        against: another model, compared sample by sample.
        tasks: only samples of these tasks.
        num_frames, media: frames of every clip, or several numbers, at each of which everything is
            asked; and how clips are read of which the data says nothing.
        cue, system, prompt: how samples are asked.
        limit, per_task, seed: a draw of those (`prune.inputs.draw.draw_samples`).
        device, dtype: as `device_map` and `dtype` of `prune.load`.

            Frames, clips, words and precision are an export's where nothing is said
            (`prune.workflows.asked`).
        positions: whose rule gives text its positions; if None those that the plan of an export was
            measured at, for both models.
        replying: by which replies a plan is measured on open samples.

    Raises:
        BadInputError: the data cannot be read, or no sample could be used.
        UsageError: the data has no such task.
    """
    cue, wording = asked_as((model, against), cue, system, prompt)
    given = frame_counts(num_frames) if num_frames is not None else ()
    read = read_as((model, against), given[0] if given else None, media, dtype)
    samples = select_samples(data, tasks, None, limit, cue, per_task, seed, read.media, wording)
    for name in (model, against):
        if positions is None and name is not None:
            positions = stored_positions(resolve(name))
    counts = given or (read.num_frames,)
    how = samples, counts, replying, progress, positions, device, read.dtype
    ours = _measured(model, *how)
    other = None if against is None else _measured(against, *how)
    first, *more = (
        _evaluation(samples, count, ours[count], None if other is None else other[count])
        for count in counts
    )
    return replace(first, more=tuple(more))


def _evaluation(
    samples: Sequence[Sample], num_frames: int, ours: "_Measured", other: "_Measured | None"
) -> Evaluation:
    """One model alone, or beside another, at a number of frames."""
    if other is None:
        told = ours.told.report if ours.told else None
        return Evaluation(ours.answers, None, told, ours.failed, len(samples), num_frames)
    return Evaluation(
        ours.answers,
        paired_report(other.answers, ours.answers) if ours.answers else None,
        versus(ours.told, other.told, samples) if ours.told and other.told else None,
        ours.failed | other.failed,
        len(samples),
        num_frames,
    )


@dataclass(frozen=True)
class _Measured:
    """Answers and replies of one model."""

    answers: list[Answer]
    told: Told | None
    failed: dict[str, str]


def _measured(
    model: str | Path,
    samples: Sequence[Sample],
    counts: Sequence[int],
    replying: Replying,
    progress: Progress,
    positions: Positions | None,
    device: str | None,
    dtype: str,
) -> dict[int, _Measured]:
    """Answers and replies at every number of frames."""
    opened = open_model(model, device, dtype, dense=True, positions=positions)
    plan = stored_plan(opened.folder, opened.id)
    return {
        count: _measured_at(opened, plan, samples, count, replying, progress) for count in counts
    }


def _measured_at(
    opened: LoadedModel,
    plan: Plan | None,
    samples: Sequence[Sample],
    num_frames: int,
    replying: Replying,
    progress: Progress,
) -> _Measured:
    choice = [sample for sample in samples if not sample.is_open]
    asked = [sample for sample in samples if sample.is_open]
    answers, failed = _answers(opened, plan, choice, num_frames, progress) if choice else ([], {})
    if not asked:
        return _Measured(answers, None, failed)
    told = reply_to(opened, plan, asked, num_frames, replying, progress)
    return _Measured(answers, told, failed | told.failed)


def answer_samples(
    model: str | Path,
    samples: Sequence[Sample],
    num_frames: int,
    progress: Progress = silent,
    positions: Positions | None = None,
) -> tuple[list[Answer], dict[str, str]]:
    """Answer samples with options with a model, under its plan if it has one.

    Returns:
        The answers, and the reason by id for each sample that could not be used.

    Raises:
        BadInputError: no sample could be used.
        NumericError: the logits of every sample are NaN or infinite.
    """
    opened = open_model(model, dense=True, positions=positions)
    return _answers(opened, stored_plan(opened.folder, opened.id), samples, num_frames, progress)


def _answers(
    opened: LoadedModel,
    plan: Plan | None,
    samples: Sequence[Sample],
    num_frames: int,
    progress: Progress,
) -> tuple[list[Answer], dict[str, str]]:
    reach = plan.reach if plan else dense_reach(opened.id.num_layers)
    batches, failed = read_clips(opened, samples, num_frames, progress)
    asked = Questions(opened, num_frames, batches, failed)
    with progress("Answering", len(samples)) as advance:
        answers = asked.ask(under(reach), advance)
    return answers, asked.failed
