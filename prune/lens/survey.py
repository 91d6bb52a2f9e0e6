"""The survey of a data set through the lenses: a journal with one record per sample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prune.checkpoint.load import LoadedModel
from prune.inputs.encode import letter_ids, read
from prune.inputs.samples import Sample
from prune.journal.records import Record, check_usable, failed_of, identity, recorded
from prune.journal.write import write_records
from prune.layout.grid import grid_of
from prune.lens.answer import AnswerByLayer, first_layer, settled_layer
from prune.lens.states import Lens, Matrix, Visit, visit_states
from prune.lens.video import VideoWords, count_words
from prune.lens.vocabulary import Groups, Vocabulary
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture

SCHEMA_VERSION = 2
FOLDER = "journal"
READINGS = {"normed": True, "raw": False}
"""Readings of the answer, by whether the final norm is applied before the last layer."""


@dataclass(frozen=True)
class SurveySettings:
    """Settings of a survey.

    Attributes:
        num_frames: T.
        groups: the words counted on video tokens.
        norm: apply the final norm to the states of video tokens before the last layer.
        matrix: what words are read with on video tokens.
    """

    num_frames: int
    groups: Groups
    norm: bool = True
    matrix: Matrix = "unembedding"


@dataclass(frozen=True)
class Survey:
    """The finished journal.

    Attributes:
        header: identity of model, data and settings.
        records: one per sample, in the order of the data set (`look`).
    """

    header: dict[str, Any]
    records: list[dict[str, Any]]

    @property
    def failed(self) -> dict[str, str]:
        """Reason by id of each sample that could not be used."""
        return failed_of(self.records)

    def chosen(self, which: str) -> list[dict[str, Any]]:
        """Records of the samples answered `correct` or `wrong`, or of `all` usable ones."""
        usable = [r for r in self.records if "error" not in r]
        return [r for r in usable if which == "all" or r["correct"] == (which == "correct")]


def look(opened: LoadedModel, sample: Sample, settings: SurveySettings) -> Record:
    """The record of one dense run.

    Returns:
        `correct` (the likeliest token is the true letter), `true` (index of the true
        option); for each of `READINGS` the probability of every option's letter `p` `[L][O]`, the
        `likeliest` token by layer, and the layers (1-based) where it is `first` and finally
        (`settled`) the answer; `video_tokens`; and `words`: by word, how many of them say it after
        layers 0 to L, without words that none says.

    Raises:
        BadInputError: the clip cannot be decoded, or its tokens are no grid.
        NumericError: a state is NaN or infinite.
    """
    inputs = read(opened.processor, [sample], settings.num_frames)
    replay = capture(opened.model, opened.processor, inputs)
    with seam(opened.model):
        return look_at(opened, sample, settings, inputs, replay)


def look_at(
    opened: LoadedModel, sample: Sample, settings: SurveySettings, inputs: Any, replay: Replay
) -> Record:
    """`look` at a captured prompt, inside `prune.runtime.attention.seam`.

    Args:
        opened, sample, settings: as in `look`.
        inputs: the sample's encoded prompt, a batch of one.
        replay: the captured prompt.
    """
    model, processor = opened.model, opened.processor
    letters = letter_ids(processor, sample)
    answers = {
        name: AnswerByLayer(Lens(model, replay.text_model, norm), letters)
        for name, norm in READINGS.items()
    }
    grid = grid_of(processor, inputs, replay.segments)
    video_lens = Lens(model, replay.text_model, settings.norm, settings.matrix)
    video = VideoWords(video_lens, grid.position, k=1)
    visits: list[Visit] = [*answers.values(), video]

    def visit(layer: int, states: torch.Tensor) -> None:
        for see in visits:
            see(layer, states)

    answer = int(visit_states(replay, visit)[0].argmax())
    vocabulary = Vocabulary.of(settings.groups, processor.tokenizer)
    counts = count_words(video.words(vocabulary), len(vocabulary.words))
    record: Record = {"correct": answer == letters[sample.answer], "true": sample.answer}
    for name, seen in answers.items():
        record[name] = {
            # Six digits, as in a trace.
            "p": [[float(f"{p:.6g}") for p in row] for row in seen.probabilities],
            "likeliest": [processor.tokenizer.decode([token]) for token in seen.likeliest],
            "first": first_layer(seen.likeliest),
            "settled": settled_layer(seen.likeliest),
        }
    said = {word: column for (_, word), column in zip(vocabulary.words, counts.T, strict=True)}
    words = {word: column.tolist() for word, column in said.items() if column.any()}
    return {**record, "video_tokens": len(grid.position), "words": words}


def survey(
    opened: LoadedModel,
    out: Path,
    samples: Sequence[Sample],
    settings: SurveySettings,
    on_done: Callable[[int], None] = lambda n: None,
) -> Survey:
    """Survey every sample, resuming where an earlier call stopped; see `prune.journal.write`.

    A sample that cannot be decoded or is not finite is recorded with the reason and counts nowhere.

    Raises:
        RefusedError: the folder holds a survey of something else.
        BadInputError, NumericError: no sample could be used.
    """
    header = {
        "schema_version": SCHEMA_VERSION,
        **identity(opened, samples),
        "num_frames": settings.num_frames,
        "groups": {name: list(words) for name, words in settings.groups.items()},
        "norm": settings.norm,
        "matrix": settings.matrix,
    }

    each = recorded(lambda sample: look(opened, sample, settings))
    records = write_records(out / FOLDER, "lens survey", header, samples, each, on_done)
    found = Survey(header, records)
    check_usable(found.records)
    return found
