"""The split of samples by video: those to search or learn on, and those to report on."""

from collections.abc import Sequence
from pathlib import Path

from prune.errors import BadInputError
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE, Wording
from prune.inputs.samples import Sample, load_samples
from prune.inputs.video_key import video_keys
from prune.journal.records import check_data
from prune.trace.trace import Trace


def split_samples(
    trace: Trace | None,
    test: Path | None,
    cue: str | None = None,
    media: Media = DEFAULT_MEDIA,
    system: str | None = None,
    prompt: str | None = None,
) -> tuple[list[Sample], list[Sample]]:
    """Split samples into those to search on and those to report on, which share no video.

    With a test file, every sample of the traced data is for the search. Without one, all samples of
    every second video that was not traced are held out.

    Args:
        trace: its data is searched on, asked and read as it was traced.
        test: JSONL of held-out samples.
        cue: what prompts end with, in place of the trace's.
        media: how clips are read, in place of what the trace says of it.
        system, prompt: the system prompt and the template, in place of the trace's.

    Raises:
        BadInputError: a file cannot be read, or a sample or a video is in both files.
        RefusedError: questions or clips have changed since they were traced.
    """
    header = trace.header if trace else {}
    cue = header.get("cue", ANSWER_CUE) if cue is None else cue
    wording = Wording.of(header).over(system, prompt)
    media = media.over(Media.of(header))
    searched = load_samples(trace.data, cue, media, wording) if trace else []
    if trace is not None:
        check_data(trace.header, searched, trace.run)
    if test is not None:
        held_out = load_samples(test, cue, media, wording)
        check_apart(searched, held_out, test)
        return searched, held_out
    videos = video_keys(searched)
    traced = set(trace.header["samples"]) if trace else set()
    seen = {video for s, video in zip(searched, videos, strict=True) if s.id in traced}
    taken = set([video for video in dict.fromkeys(videos) if video not in seen][::2])
    sides: tuple[list[Sample], list[Sample]] = [], []
    for sample, video in zip(searched, videos, strict=True):
        sides[video in taken].append(sample)
    return sides


def check_apart(searched: Sequence[Sample], held_out: Sequence[Sample], test: str | Path) -> None:
    """Check that no held-out sample, and none of their videos, was also used to find or learn.

    Args:
        searched: what the plan was found or learned on.
        held_out: of `test`.
        test: what those are, or their file.

    Raises:
        BadInputError: one was.
    """
    common = {s.id for s in searched} & {s.id for s in held_out}
    if common:
        raise BadInputError(f"{test}: sample {min(common)!r} is also one to search or learn on")
    if not searched:
        return
    known = set(video_keys(searched))
    shared = [s for s, v in zip(held_out, video_keys(held_out), strict=True) if v in known]
    if shared:
        raise BadInputError(
            f"{test}: {len(shared)} of {len(held_out)} questions, the first {shared[0].id!r}, are "
            "about videos that are also searched or learned on: move all questions about a video "
            "to one of the two files"
        )
