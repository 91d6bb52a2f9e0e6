"""Roles partition the prompt, frames are right, and each role's text is the source's."""

import numpy as np
import pytest
import torch

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.inputs.encode import choice_prompt, read
from prune.inputs.prompts import find_options
from prune.inputs.samples import Sample
from prune.inputs.written import TokenSpans, remember
from prune.layout.segments import Role, Segments, segment


def _text(tiny: LoadedModel, ids: torch.Tensor) -> str:
    return tiny.processor.decode(ids)


def test_text_of_every_role_is_the_source(tiny: LoadedModel, samples: list[Sample]) -> None:
    for sample in samples:
        inputs = read(tiny.processor, [sample], 8)
        segments = segment(tiny.processor, inputs)
        ids, role, option = inputs["input_ids"][0], segments.role[0], segments.option[0]
        text = {r: _text(tiny, ids[role == r]) for r in Role}
        assert text[Role.QUESTION] == f" Question: {sample.question}\nOptions:\n"
        lines = [f"({chr(65 + i)}) {o}" for i, o in enumerate(sample.options)]
        assert text[Role.OPTIONS] == "\n".join(lines)
        for i, line in enumerate(lines):
            assert _text(tiny, ids[option == i]).rstrip("\n") == line
        order = [Role.BRIDGE, Role.QUESTION, Role.OPTIONS, Role.TAIL, Role.LAST]
        whole = choice_prompt(tiny.processor, sample).text.split("<video>")[1]
        assert "".join(text[r] for r in order) == whole
        assert (
            text[Role.SYSTEM]
            == "<s>" + choice_prompt(tiny.processor, sample).text.split("<video>")[0]
        )
        assert (role == Role.LAST).sum() == 1 and role[-1] == Role.LAST


@pytest.mark.parametrize("frames", [1, 2, 3, 8])
def test_every_frame_has_its_tokens(tiny: LoadedModel, frames: int) -> None:
    video = np.zeros((frames, 96, 96, 3), np.uint8)
    inputs = tiny.processor(text="USER: <video>\nWhat happens?", videos=[video])
    frame = segment(tiny.processor, inputs).frame[0]
    assert torch.bincount(frame[frame >= 0]).tolist() == [9] * frames
    assert (frame[frame >= 0].diff() >= 0).all()


def test_a_batch_equals_its_rows(tiny: LoadedModel, samples: list[Sample]) -> None:
    together = segment(tiny.processor, read(tiny.processor, samples[:6], 8))
    assert (together.role == -1).any(), "the batch must have padding for this test to mean anything"
    for i, sample in enumerate(samples[:6]):
        alone = segment(tiny.processor, read(tiny.processor, [sample], 8))
        row = together.row(i)
        for name in ("role", "frame", "option"):
            assert torch.equal(getattr(row, name), getattr(alone, name))


def test_a_prompt_without_video_is_system(tiny: LoadedModel) -> None:
    segments = segment(tiny.processor, tiny.processor(text="How many shapes are there?"))
    assert set(segments.role[0, :-1].tolist()) == {Role.SYSTEM}
    assert segments.role[0, -1] == Role.LAST


def test_video_tokens_that_do_not_fit_the_frames_are_refused(tiny: LoadedModel) -> None:
    video = np.zeros((2, 96, 96, 3), np.uint8)
    inputs = tiny.processor(text="USER: <video> What?", videos=[video])
    inputs["pixel_values_videos"] = inputs["pixel_values_videos"].repeat(1, 2, 1, 1, 1)[:, :4]
    inputs["input_ids"] = inputs["input_ids"][:, 2:]
    inputs["attention_mask"] = inputs["attention_mask"][:, 2:]
    with pytest.raises(BadInputError, match="cannot be split evenly over 4 frames"):
        segment(tiny.processor, inputs)


def test_tokens_asked_again_are_laid_out_by_what_is_known_of_them_now(
    tiny: LoadedModel,
) -> None:
    video = np.zeros((2, 96, 96, 3), np.uint8)
    text = "USER: <video>\nWhat moves behind the curtain?\nASSISTANT:"
    inputs = tiny.processor(text=text, videos=[video])
    first = segment(tiny.processor, inputs)
    assert segment(tiny.processor, inputs) is first
    ids = inputs["input_ids"][0].tolist()
    remember(ids, TokenSpans(question=(-3, -2), options=()))
    written = segment(tiny.processor, inputs)
    assert written.count(Role.QUESTION) == 1 < first.count(Role.QUESTION)
    wider = tiny.processor(text=text, videos=[np.zeros((3, 96, 96, 3), np.uint8)])
    assert segment(tiny.processor, wider).frame.max() == 2


def test_runs_round_trip(tiny: LoadedModel, samples: list[Sample]) -> None:
    segments = segment(tiny.processor, read(tiny.processor, samples[:1], 8))
    again = Segments.of_runs(segments.runs())
    assert torch.equal(again.role, segments.role) and torch.equal(again.frame, segments.frame)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Who?\n(A) I\n(B) you\nOnly the letter.", ["(A) I\n", "(B) you"]),
        ("Who?\nA. I am\nB. you are\nAnswer.", ["A. I am\n", "B. you are"]),
        ("What does it say?\nA) GIVE\nWAY\nB) STOP", ["A) GIVE\nWAY\n", "B) STOP"]),
        ("Is (A) or (B) right?\nA: one\nB: two", ["A: one\n", "B: two"]),
        ("Events: (A) jump (B) fall. Which is first?", []),
        ("What is a B. vitamin?", []),
        ("A. is not enough", []),
    ],
)
def test_options_that_someone_else_wrote(text: str, options: list[str]) -> None:
    assert [text[a:b] for a, b in find_options(text)] == options
