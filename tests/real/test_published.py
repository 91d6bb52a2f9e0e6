"""Token ranges of the published pathways, against those of Map the Flow's string search."""

from pathlib import Path

import pytest

from prune.inputs.encode import choice_prompt, encode
from prune.inputs.prompts import Wording
from prune.inputs.samples import Sample
from prune.inputs.written import recall
from prune.layout.fine_role import FineRole
from prune.layout.knockout_tables import tell_options_apart
from prune.layout.segments import Role, segment
from prune.workflows.recipe import read_recipe
from tests.real.models import processor_of
from tests.real.prompts import clip

SAMPLE = Sample(
    "s", Path(), "What happened after the person took the food?",
    ("Ate the medicine.", "Tidied up the blanket", "Put down the cup/glass/bottle.", "left"),
    2, "t",
)  # fmt: skip
MODELS = ["qwen2_5_vl", "llava_next_video", "internvl", "video_llama_3", "perception_lm"]


def searched(tokenizer: object, ids: list[int], words: str) -> list[int]:
    """The tokens that hold a text: the first ones whose decodes, joined, contain it."""
    pieces = [tokenizer.decode([i]) for i in ids]  # type: ignore[attr-defined]
    squeezed = ["".join(piece.split()) for piece in pieces]
    place = "".join(squeezed).index("".join(words.split()))
    stop = place + len("".join(words.split()))
    found, at = [], 0
    for index, piece in enumerate(squeezed):
        if piece and at < stop and at + len(piece) > place:
            found.append(index)
        at += len(piece)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_published_ranges_are_those_of_a_string_search(name: str) -> None:
    processor = processor_of(name)
    inputs = encode(processor, [SAMPLE], [clip(2)])
    ids = inputs["input_ids"][0].tolist()
    role = tell_options_apart(segment(processor, inputs), SAMPLE.answer, recall(ids)).role[0]
    texts = [f"({letter}) {o}" for letter, o in zip(SAMPLE.letters, SAMPLE.options, strict=True)]
    expected = {
        FineRole.STEM: searched(processor.tokenizer, ids, SAMPLE.question),
        FineRole.TRUE_OPTION: searched(processor.tokenizer, ids, texts[2]),
        FineRole.FALSE_OPTIONS: [
            token for i in (0, 1, 3) for token in searched(processor.tokenizer, ids, texts[i])
        ],
    }
    for part, tokens in expected.items():
        # A token of white space alone may lead a text: it is searched without one.
        found = [
            t for t in (role == part).nonzero()[:, 0].tolist()
            if processor.tokenizer.decode([ids[t]]).strip()
        ]  # fmt: skip
        assert found == tokens, part
    ends = [
        t for t in range(len(ids))
        if FineRole.TRUE_END <= role[t] <= FineRole.LAST_FALSE_END
    ]  # fmt: skip
    assert all(not processor.tokenizer.decode([ids[t]]).strip() for t in ends)
    # After an option that ends with a letter every vocabulary here has a token for the line's end.
    assert {FineRole.FALSE_END, FineRole.LAST_FALSE_END} <= set(role.tolist())
    whole = searched(processor.tokenizer, ids, "Question: " + SAMPLE.question)[0]
    assert role[whole] == Role.QUESTION


@pytest.mark.parametrize("name", ["llava_next_video", "internvl", "qwen2_5_vl", "video_llama_3"])
def test_a_released_system_prompt_stands_before_the_video(name: str) -> None:
    processor = processor_of(name)
    recipe = read_recipe("llava-next-7b")
    sample = Sample(
        "s", Path(), "Which way?", ("left", "right"), 0, "t",
        wording=Wording(recipe.system, "Give the letter."),
    )  # fmt: skip
    text = choice_prompt(processor, sample).text
    assert text.index(recipe.system.strip()) < text.index("Question: Which way?")
    assert "(B) right\nGive the letter." in text and text.endswith(sample.cue)
    inputs = encode(processor, [sample], [clip(2)])
    ids = inputs["input_ids"][0].tolist()
    role = segment(processor, inputs, strict=True).role[0]
    words = searched(processor.tokenizer, ids, recipe.system)
    assert set(role[words].tolist()) == {Role.SYSTEM}
