"""Options, sinks, regions, frames, images and earlier turns in every family: their tokens alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BatchFeature

from prune.errors import BadInputError, UsageError
from prune.families import video_families
from prune.inputs.boxes import ObjectBox
from prune.inputs.sample import Sample
from prune.kernels import allowed_edges
from prune.layout.fine_role import CHOSEN, SINK, MarkedRole
from prune.layout.knockout_tables import tell_options_apart, tokens_of, told_tables
from prune.layout.pathway_names import find_pathway
from prune.layout.pathways import roles_of
from prune.layout.segments import Role, segment
from prune.runtime.attention import seam
from prune.runtime.captured import capture
from prune.trace import sinks
from prune.trace.dense_pass import DensePass, record_dense
from prune.trace.found_roles import find_marked
from prune.trace.incremental import knockout_logits
from prune.trace.knockout import Knockouts
from prune.trace.regions import Shown
from tests.families.specimen import Tiny, tiny_of
from tests.families.test_incremental import replay_of

PATHWAYS = [
    find_pathway(text)
    for text in (
        "option:2->last",
        "video->option:1",
        "option:1->option:2",
        "option:chosen->tail,last",
        "history->question,options,last",
        "video->history",
        "image->question,tail,last",
        "history->image",
        "region:object->question",
        "region:object-control->question",
        "region:named,region:named-control->last",
        "system->region:object",
        "sink->question,options,tail,last",
        "frame:last->option:2 + true_option->last",
        "true_option->last",
        "options->last",
    )
]

PICTURE = "pppp"
ASKED = "USER: Question: Who?\nOptions:\n(A) I am\n(B) you\nASSISTANT: (B"
PROMPT = ("USER: ", 3, f" Is it red? ASSISTANT: yes USER: {PICTURE} {ASKED.removeprefix('USER: ')}")

BOXES = (
    ObjectBox("cat", (0.6, 0.6, 0.9, 0.9), end=1),
    ObjectBox("dog", (0.6, 0.1, 0.9, 0.4), start=2),
)
"""In the last cell of the first frame, and in the second of the 2 x 2 cells of the third."""


@dataclass(frozen=True)
class Masks:
    """Attention under one explicit mask `[S, S]` in every layer: knows nothing of roles."""

    masks: Sequence[Tensor]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        mask = self.masks[layer]
        out = F.scaled_dot_product_attention(query, key, value, mask, scale=scale, enable_gqa=True)
        return out.masked_fill(~mask.any(-1, keepdim=True), 0.0)


def shown(tiny: Tiny, inputs: BatchFeature, boxes: tuple[ObjectBox, ...] = BOXES) -> Shown:
    """A question about one of two animals, in a clip of three frames, one a second."""
    sample = Sample("a", Path("a"), "Does the dog run?", ("yes", "no"), 0, "x", boxes=boxes)
    return Shown(tiny.processor, sample, dict(inputs), [0.0, 1.0, 2.0], (0.0, 0.0, 1.0, 1.0))


@torch.no_grad()
def marked(name: str, monkeypatch: pytest.MonkeyPatch) -> DensePass:
    """A recorded prompt with a video, a turn before the question, a picture, sinks and boxes.

    The picture is text to the model, as many tokens at the same places.
    """
    tiny = tiny_of(name)
    inputs = tiny.inputs(PROMPT)
    text = tiny.text(PROMPT).replace(PICTURE, tiny.processor.image_token * len(PICTURE))
    pictured = tiny.processor.tokenizer(text, return_tensors="pt")["input_ids"]
    layout = segment(tiny.processor, BatchFeature({**inputs, "input_ids": pictured}), strict=True)
    replay = capture(tiny.model, tiny.processor, inputs, tell_options_apart(layout, 1))
    with seam(replay.model):
        dense = record_dense(replay)
    # Random weights make no massive activations: the three tokens with the largest are sinks.
    size = torch.stack([s[0].abs().amax(-1) / s[0].abs().median(-1).values for s in dense.inputs])
    largest = size[1:, :-1].amax(0)
    monkeypatch.setattr(sinks, "MASSIVE", float(largest.topk(4).values[2:].mean()))
    find_marked(dense, roles_of(PATHWAYS), 1, shown(tiny, inputs))
    found = dense.replay.segments.marks[SINK].nonzero()[:, 0]
    assert found.tolist() == largest.topk(3).indices.sort().values.tolist()
    return dense


@torch.no_grad()
@pytest.mark.parametrize("name", video_families())
def test_knockouts_are_plain_forwards_without_those_edges(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = marked(name, monkeypatch)
    replay = dense.replay
    segments, length = replay.segments, replay.segments.shape[1]
    tables, told = told_tables(PATHWAYS, segments)
    every, *edges = (
        allowed_edges(told.role, told.frame, table, length)[0, 0]
        for table in torch.from_numpy(tables)
    )
    assert torch.equal(every, torch.ones_like(every).tril())
    knockouts = Knockouts(PATHWAYS, len(replay.text_model.layers), 2)
    with seam(replay.model):
        fast = knockout_logits(dense, PATHWAYS, knockouts.windows())
        for pathway, found, logits in zip(PATHWAYS, edges, fast, strict=True):
            mask = every.clone()
            for one in pathway.singles:
                by, read = tokens_of(one.queries, segments), tokens_of(one.keys, segments)
                assert by.any() and read.any(), pathway.name
                mask &= ~(by[:, None] & read)
            assert torch.equal(found, mask), pathway.name
            for window, cut in zip(knockouts.windows(), logits, strict=True):
                masks = [mask if layer in window else every for layer in range(len(dense.inputs))]
                plain = replay.last_logits(Masks(masks))[0]
                torch.testing.assert_close(cut, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", video_families())
def test_roles_are_the_tokens_of_their_words_and_cells(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, segments = tiny_of(name), marked(name, monkeypatch).replay.segments
    inputs = tiny.inputs(PROMPT)

    def place(*roles: Role | MarkedRole) -> list[int]:
        return tokens_of(roles, segments).nonzero()[:, 0].tolist()

    def text(*roles: Role | MarkedRole) -> str:
        said: str = tiny.processor.tokenizer.decode(inputs["input_ids"][0, place(*roles)])
        return said

    assert text(Role.IMAGE) == PICTURE
    assert "Is it red? ASSISTANT: yes" in text(Role.HISTORY) and "Who" not in text(Role.HISTORY)
    assert text(MarkedRole(CHOSEN)) == "(B) you"
    video, frame = segments.role[0] == Role.VIDEO, segments.frame[0]
    units = [(video & (frame == unit)).nonzero()[:, 0].tolist() for unit in range(frame.max() + 1)]
    classes = tiny.family.class_tokens
    cat, dog = units[0][classes + 3], units[-1][classes + 1]
    assert place(MarkedRole("region:object")) == [cat, dog]
    assert place(MarkedRole("region:named")) == [dog]
    for control, of in (("object", [cat, dog]), ("named", [dog])):
        others = place(MarkedRole(f"region:{control}-control"))
        assert not set(others) & set(of)
        assert frame[others].tolist() == frame[of].tolist()
        assert all(token in units[int(frame[token])][classes : classes + 4] for token in others)


@torch.no_grad()
def test_sinks_are_the_tokens_with_massive_activations() -> None:
    replay = replay_of("llava_next_video")
    with seam(replay.model):
        dense = record_dense(replay)
    assert not sinks.sinks(dense).any()
    # One activation of one token, in one layer.
    state = dense.inputs[2] = dense.inputs[2].clone()
    state[0, 3, 7] = 1.01 * sinks.MASSIVE * state[0, 3].abs().median()
    assert sinks.sinks(dense).nonzero().tolist() == [[3]]


def test_regions_that_a_clip_does_not_have() -> None:
    tiny, replay = tiny_of("llava_next_video"), replay_of("llava_next_video")
    inputs = tiny.inputs(("USER: ", 3, ASKED))
    everywhere = ObjectBox("dog", (0.0, 0.0, 1.0, 1.0))
    for mark, boxes, message in (
        ("region:named", BOXES[:1], "name no object that has a box"),
        ("region:object", (replace(BOXES[0], start=5, end=None),), "a frame that the model sees"),
        ("region:object-control", (everywhere,), "overlap every cell"),
    ):
        dense = DensePass(replay)
        with pytest.raises(BadInputError, match=message):
            find_marked(dense, {MarkedRole(mark)}, shown=shown(tiny, inputs, boxes))


def test_what_no_prompt_has() -> None:
    segments = replay_of("llava_next_video").segments
    for text, message in (("option:3->last", "no such option"), ("frame:9->last", "has 3 frames")):
        with pytest.raises(BadInputError, match=message):
            told_tables([find_pathway(text)], segments)
    for mark in ("sink", "option:chosen", "region:object"):
        with pytest.raises(BadInputError, match=f"{mark}: nothing says"):
            told_tables([find_pathway(f"{mark}->last")], segments)
    for text in (
        "option:0->last",
        "option:->last",
        "option:1->video",
        "question->region:object",
        "region:dog->last",
    ):
        with pytest.raises(UsageError):
            find_pathway(text)
