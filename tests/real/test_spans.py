"""Property: the roles of a prompt that prune wrote are the spans it was written with."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prune.inputs.encode import choice_prompt, encode
from prune.inputs.samples import Sample
from prune.layout.segments import Role, segment
from tests.real.models import processor_of
from tests.real.prompts import clip

CLIP = clip(2)
WORDS = st.one_of(
    st.text(
        st.characters(blacklist_categories=("Cs", "Cc", "Co"), blacklist_characters="\u2581"),
        min_size=1, max_size=24,
    ),
    st.sampled_from(
        [
            "(A) jump (B) fall (C) stand up. Is B before C?", "A. left", "(B) right",
            "Vitamin C: orange", "Mr. A. B. Smith", "GIVE\nWAY", "ASSISTANT: hello", "USER: hi",
            "Question: who am I?", "Options:", "(C) (B) (A)", "左边", "what does </s> mean",
            "Only give the best option.", "x\n\ny", "👩‍👩‍👧 e\u0301", "a  b", "[INST] no [/INST]",
        ]
    ),
)  # fmt: skip
TEXT = WORDS.filter(lambda text: text.strip())


@pytest.mark.parametrize("name", ["qwen2_5_vl", "llava_next_video", "internvl", "perception_lm"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(question=TEXT, options=st.lists(TEXT, min_size=2, max_size=6))
def test_spans_written_are_spans_found(name: str, question: str, options: list[str]) -> None:
    processor = processor_of(name)
    sample = Sample("s", Path(), question, tuple(options), 0, "t")
    written = choice_prompt(processor, sample)
    inputs = encode(processor, [sample], [CLIP])
    found = segment(processor, inputs, strict=True)
    role, option = found.role[0], found.option[0]
    after = int((role == Role.VIDEO).nonzero()[-1]) + 1
    ids = inputs["input_ids"][0, after:].tolist()
    # Where the written text turns from one part into the next, and where its tokens do.
    first = int(role.tolist().index(Role.QUESTION)) - after
    places = [first, *(int((option == i).nonzero()[0]) - after for i in range(len(options)))]
    places.append(int((option >= 0).nonzero()[-1]) + 1 - after)
    edges = [written.question[0], *(start for start, _ in written.options), written.options[-1][1]]
    whole = visible(processor.tokenizer.decode(ids))
    assert visible(written.text).endswith(whole[-20:])
    for place, edge in zip(places, edges, strict=True):
        got = len(visible(processor.tokenizer.decode(ids[:place])))
        expected = len(whole) - len(visible(written.text[edge:]))
        token = len(visible(processor.tokenizer.decode(ids[max(place - 1, 0) : place])))
        # A token that holds the end of one part and the beginning of the next is of the first.
        assert 0 <= got - expected < max(token, 1), (processor.tokenizer.decode(ids[:place]), edge)


def visible(text: str) -> str:
    """Text without white space, as vocabularies write it."""
    return "".join(unicodedata.normalize("NFC", text).split())
