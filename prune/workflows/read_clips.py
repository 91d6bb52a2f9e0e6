"""Reading of clips into batches of encoded prompts, with progress."""

from collections.abc import Sequence

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.evaluate.answers import BATCH, EncodedBatch, prepare
from prune.inputs.replying import DEFAULT_REPLYING, Replying
from prune.inputs.samples import Sample
from prune.journal.progress import Progress


def read_clips(
    opened: LoadedModel,
    samples: Sequence[Sample],
    num_frames: int,
    progress: Progress,
    what: str = "clips",
    replying: Replying = DEFAULT_REPLYING,
) -> tuple[list[EncodedBatch], dict[str, str]]:
    """Decode and encode samples in batches.

    Args:
        opened: the model that will answer.
        samples: in order.
        num_frames: frames of every clip.
        progress: shows the clips that were read.
        what: what the clips are, for the title of the progress bar.
        replying: by which replies open samples are followed.

    Returns:
        The batches, and the reason by id for each sample that could not be used.

    Raises:
        BadInputError: no sample could be used.
    """
    with progress(f"Reading {what}", len(samples)) as advance:
        batches, failed = prepare(
            opened.model, opened.processor, samples, num_frames, BATCH, advance, replying
        )
    if not batches:
        raise BadInputError(f"no sample could be used: {next(iter(failed.values()))}")
    return batches, failed
