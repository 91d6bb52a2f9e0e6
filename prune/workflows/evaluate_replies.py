"""The part of `prune eval` about open samples: replies of one model, or of two compared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.evaluate.free_replies import examples, prepared_replies, similarities, texts_of
from prune.evaluate.replies import Replies
from prune.inputs.replying import Replying
from prune.inputs.samples import Sample
from prune.journal.progress import Progress
from prune.plan.plan import Plan
from prune.results.replies import RepliesReport
from prune.workflows.compare_replies import compare_replies
from prune.workflows.read_clips import read_clips

THIS, AGAINST = "this model", "against"
"""Names of the models that `prune eval` compares."""


@dataclass(frozen=True)
class Told:
    """Replies of one model.

    Attributes:
        report: what was measured; of a model without a plan, how similar its replies are to
            references.
        texts: free replies by the sample's id.
        failed: the reason by id for each sample that could not be used.
    """

    report: RepliesReport
    texts: dict[str, str]
    failed: dict[str, str]


def reply_to(
    opened: LoadedModel,
    plan: Plan | None,
    samples: Sequence[Sample],
    num_frames: int,
    replying: Replying,
    progress: Progress,
) -> Told:
    """Let a model reply to open samples; under a plan, beside the dense model.

    Raises:
        BadInputError: no sample could be used.
        NumericError: the logits of every sample are NaN or infinite.
    """
    replying = replying if plan else replace(replying, source="own")
    batches, failed = read_clips(opened, samples, num_frames, progress, replying=replying)
    if plan is not None:
        told = Replies(opened.model, batches)
        report, free = compare_replies(opened, plan, told, num_frames, replying, progress)
        return Told(report, texts_of(opened, free), failed | told.failed)
    # Without a plan the model's own replies are those that it would be forced through.
    texts = texts_of(opened, prepared_replies(batches))
    given = [s for s in samples if s.id in texts]
    report = RepliesReport(
        source=replying.source,
        max_tokens=replying.max_tokens,
        tasks=(),
        overall=None,
        drift=(),
        free=similarities(given, texts, texts, (THIS, THIS)),
        examples=examples(given, texts, texts, {}),
        baselines=(),
    )
    return Told(report, texts, failed)


def versus(this: Told, other: Told, samples: Sequence[Sample]) -> RepliesReport:
    """The report of one model with its free replies beside another's.

    Raises:
        BadInputError: they replied to no sample in common.
    """
    both = [s for s in samples if s.id in this.texts and s.id in other.texts]
    if not both:
        raise BadInputError("the two models replied to no sample in common")
    return replace(
        this.report,
        free=similarities(both, other.texts, this.texts, (AGAINST, THIS)),
        examples=examples(both, other.texts, this.texts, {}),
    )
