"""What video tokens say, and which words are counted."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import spacy
import torch
from torch import Tensor

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.layout.segments import Role
from prune.lens import video, vocabulary
from prune.lens.states import Lens, Matrix, visit_states
from prune.lens.video import VideoWords, count_words, frequencies, layer_bins
from prune.lens.vocabulary import EMBEDDED, Vocabulary, load_groups
from prune.runtime.attention import seam
from prune.runtime.captured import capture
from prune.tiny.questions import WORDS

PIECES = ["circ", "les", "us", "box", "o", "pen", "Open", " open", "ed", " "]
SPELLINGS = {
    "circles": ["circ", "les"],
    "circus": ["circ", "us"],
    "box": ["box"],
    "open": ["o", "pen"],
    "opened": ["o", "pen", "ed"],
    "Open": ["Open"],
    " open": [" open"],
}
TOKENIZER = SimpleNamespace(
    encode=lambda text, **_: [PIECES.index(p) for p in SPELLINGS.get(text, [])],
    decode=lambda ids: "".join(PIECES[i] for i in ids),
)
"""Knows a few words and spells some of them in pieces."""


def test_words_of_several_tokens_are_recognised_by_what_is_theirs_alone() -> None:
    groups = {"things": ["circles", "circus", "box"], "acts": ["open", "opened"]}
    words = Vocabulary.of(groups, TOKENIZER)
    found = {PIECES[token]: words.words[i][1] for token, i in words.token.items()}
    # "circ" and "pen" could be of two words, "us", "o" and "ed" are too short.
    assert found == {"les": "circles", "box": "box", "Open": "open", " open": "open"}
    assert words.silent == ["circus", "opened"]
    alone = Vocabulary.of({"things": ["circles"]}, TOKENIZER)
    assert {PIECES[token] for token in alone.token} == {"circ", "les"}


def test_embedded_vocabularies(tiny: LoadedModel, samples: list[Sample]) -> None:
    for path in EMBEDDED.glob("*.json"):
        assert set(load_groups(path.stem, samples)) == {"spatial", "temporal"}
    groups = load_groups("tiny", samples)
    assert sorted(word for group in groups.values() for word in group) == sorted(WORDS)
    assert not Vocabulary.of(groups, tiny.processor.tokenizer).silent


def test_words_of_the_data(samples: list[Sample]) -> None:
    groups = load_groups(None, samples)
    assert {"circle", "red"} <= set(groups["questions"])
    assert {"grows", "shrinks"} <= set(groups["options"])
    assert "the" not in groups["questions"] and not set(groups["questions"]) & set(
        groups["options"]
    )


def test_words_of_the_data_by_their_part_of_speech(samples: list[Sample], tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("attribute_ruler")
    ruler.add([[{}]], {"POS": "X"})  # type: ignore[attr-defined]
    parts = {"NOUN": ["circle", "square", "sea"], "ADJ": ["red"], "VERB": ["grows"], "ADV": ["up"]}
    for part, words in parts.items():
        ruler.add([[{"LOWER": {"IN": words}}]], {"POS": part})  # type: ignore[attr-defined]
    nlp.to_disk(tmp_path)
    groups = load_groups(f"spacy:{tmp_path}", samples)
    assert set(groups["spatial"]) <= {"circle", "square", "sea", "red"}
    assert "grows" in groups["temporal"] and "red" in groups["spatial"]
    with pytest.raises(BadInputError, match="--words en_core_web_none: no such spaCy pipeline"):
        load_groups("spacy:en_core_web_none", samples)


def test_a_word_of_both_kinds_is_of_neither(tmp_path: Path) -> None:
    def said(text: str) -> list[SimpleNamespace]:
        kinds = {"drink": "NOUN" if "a drink" in text else "VERB", "cup": "NOUN"}
        return [SimpleNamespace(text=w, pos_=kinds.get(w, "X")) for w in text.split()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "tagger", lambda *_: said)
        options = ("drink it", "a drink and a cup")
        sample = Sample("a", tmp_path, "What", options, 0, "t")
        assert load_groups("spacy:x", [sample]) == {"spatial": ["cup"]}
    with pytest.raises(BadInputError, match="no words to look for"):
        load_groups(None, [Sample("a", tmp_path, "What is it?", ("1", "2"), 0, "t")])


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "neither a JSON file"), ("{}", "expected"), ('{"a": ["x"], "b": "y"}', "expected"),
     ('{"a": ["x"], "b": ["x"]}', "x: a word can be listed only once")],
)  # fmt: skip
def test_bad_vocabularies(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "words.json"
    path.write_text(content)
    with pytest.raises(BadInputError, match=message):
        load_groups(path, [])
    path.write_text(json.dumps({"things": ["cup"]}))
    assert load_groups(path, []) == {"things": ["cup"]}


@torch.no_grad()
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("matrix", ["unembedding", "embedding"])
def test_every_state_is_read(
    tiny: LoadedModel,
    samples: list[Sample],
    norm: bool,
    matrix: Matrix,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(video, "MAX_LOGITS", 475 * 10)  # several parts
    inputs = read(tiny.processor, samples[:1], 8)
    hidden = list(tiny.model(**inputs, output_hidden_states=True).hidden_states)
    replay = capture(tiny.model, tiny.processor, inputs)
    positions = (replay.segments.role[0] == Role.VIDEO).nonzero()[:, 0]
    words = VideoWords(Lens(tiny.model, replay.text_model, norm, matrix), positions, k=3)
    with seam(tiny.model):
        visit_states(replay, words)
    assert len(words.ids) == len(hidden) == 13

    text = tiny.model.model.language_model
    weight = (tiny.model.lm_head if matrix == "unembedding" else text.embed_tokens).weight

    def expected(layer: int) -> Tensor:
        state = hidden[layer][0, positions]
        return ((text.norm(state) if norm and layer < 12 else state) @ weight.T).softmax(-1)

    for layer in (0, 5, 12):
        p = expected(layer)
        for top in (p.topk(3, -1).values, p.gather(-1, words.ids[layer])):
            torch.testing.assert_close(words.probabilities[layer], top, atol=1e-5, rtol=1e-4)


def test_words_are_counted_by_layer() -> None:
    lens = SimpleNamespace(weight=torch.zeros(6, 2))
    said = VideoWords(lens, torch.arange(3), k=2)  # type: ignore[arg-type]
    said.ids = [torch.tensor([[4, 0], [5, 0], [1, 4]]), torch.tensor([[4, 0], [4, 1], [0, 4]])]
    words = said.words(Vocabulary((("g", "x"), ("g", "y")), {4: 0, 1: 1}))
    assert words.tolist() == [[0, -1, 1], [0, 0, -1]]
    assert count_words(words, 2).tolist() == [[1, 1], [2, 0]]


def test_bins_are_disjoint_and_a_short_one_is_fair() -> None:
    bins = layer_bins(12, 5)
    assert [list(layers) for layers in bins] == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12]]
    counts = np.ones((13, 3), np.int64)
    counts[:, 1] = 0
    counts[1:6, 2] = 0
    share = frequencies(counts, bins, 5)
    np.testing.assert_allclose(share[:, 0], 1 / 3)
    assert np.isnan(share[:, 1]).all()
    np.testing.assert_allclose(share[:, 2], [0, 0.5, 0.5])
    assert np.isnan(frequencies(counts, bins, 13)).all()
