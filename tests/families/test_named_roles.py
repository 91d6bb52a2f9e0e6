"""Options, sinks, frames, images and earlier turns in every family: named tokens, and no others."""

from dataclasses import replace

import pytest
import torch

from prune.errors import BadInputError, UsageError
from prune.families import video_families
from prune.kernels import allowed_edges
from prune.layout.knockout_tables import tokens_of, told_tables
from prune.layout.pathways import find_pathway
from prune.layout.segments import Role, Segments
from prune.runtime.attention import seam
from prune.runtime.captured import Replay
from prune.trace.dense_pass import record_dense
from prune.trace.found_roles import found_roles
from prune.trace.incremental import knockout_logits
from prune.trace.knockout import Knockouts, plain_logits
from prune.trace.sinks import MASSIVE, sinks
from tests.families.test_incremental import replay_of

PATHWAYS = [
    find_pathway(text)
    for text in (
        "option:2->last",
        "video->option:1",
        "option:1->option:2",
        "sink->question,options,tail,last",
        "frame:last->option:2 + true_option->last",
        "true_option->last",
        "video->sink",
        "options->last",
    )
]


def marked(name: str) -> Replay:
    """A prompt of which a system token and a video token count as sinks."""
    replay = replay_of(name)
    layout = replay.segments
    mark = torch.zeros(layout.shape[1], dtype=torch.bool)
    mark[[0, int((layout.role[0] == Role.VIDEO).nonzero()[2, 0])]] = True
    return replace(replay, segments=replace(layout, marks={"sink": mark}))


@pytest.mark.parametrize("name", video_families())
def test_a_pathway_removes_the_edges_between_its_tokens_alone(name: str) -> None:
    segments = marked(name).segments
    tables, told = told_tables(PATHWAYS, segments)
    dense, *cut = (
        allowed_edges(told.role, told.frame, table, segments.shape[1])[0, 0]
        for table in torch.from_numpy(tables)
    )
    assert torch.equal(dense, torch.ones_like(dense).tril())
    for pathway, edges in zip(PATHWAYS, cut, strict=True):
        expected = dense.clone()
        for one in pathway.singles:
            by, read = tokens_of(one.queries, segments), tokens_of(one.keys, segments)
            assert by.any() and read.any()
            expected &= ~(by[:, None] & read)
        assert torch.equal(edges, expected), pathway.name


@torch.no_grad()
@pytest.mark.parametrize("name", video_families())
def test_knockouts_are_the_plain_ones(name: str) -> None:
    replay = marked(name)
    knockouts = Knockouts(PATHWAYS, len(replay.text_model.layers), 2)
    with seam(replay.model):
        plain = plain_logits(replay, knockouts)[:, :, 0]
        fast = knockout_logits(record_dense(replay), PATHWAYS, knockouts.windows())
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("choice", [0, 1])
def test_the_chosen_option_is_the_one_that_is_answered(choice: int) -> None:
    replay = replay_of("llava_onevision")
    knockouts = Knockouts([find_pathway("video->option:chosen")], 5, 2)
    with seam(replay.model):
        dense = record_dense(replay)
    (found,) = found_roles(knockouts, dense, choice).pathways
    chosen = tokens_of(found.queries, replay.segments)
    assert torch.equal(chosen, replay.segments.option[0] == choice) and chosen.any()
    assert found.name == "video->option:chosen"
    with pytest.raises(BadInputError, match="no options to choose from"):
        tokens_of(knockouts.pathways[0].queries, replay.segments)


@torch.no_grad()
def test_sinks_are_the_tokens_with_massive_activations() -> None:
    replay = replay_of("llava_next_video")
    with seam(replay.model):
        dense = record_dense(replay)
    assert not sinks(dense).any()
    # One activation of one token, in one layer.
    state = dense.inputs[2] = dense.inputs[2].clone()
    state[0, 3, 7] = 1.01 * MASSIVE * state[0, 3].abs().median()
    assert sinks(dense).nonzero().tolist() == [[3]]
    knockouts = Knockouts([find_pathway("sink->last")], 5, 2)
    assert found_roles(knockouts, dense) is knockouts
    assert tokens_of(knockouts.pathways[0].keys, dense.replay.segments).nonzero().tolist() == [[3]]


def test_images_and_earlier_turns_have_names() -> None:
    roles = (Role.IMAGE, Role.HISTORY, Role.VIDEO, Role.HISTORY, Role.QUESTION, Role.LAST)
    segments = Segments.of_runs([(role, -1, 2) for role in roles])
    for text, keys in (("image->question", [0, 1]), ("history->last", [2, 3, 6, 7])):
        pathway = find_pathway(text)
        assert tokens_of(pathway.keys, segments).nonzero()[:, 0].tolist() == keys
    assert find_pathway("video->history").queries == (Role.HISTORY,)


def test_what_no_prompt_has() -> None:
    segments = marked("llava_next_video").segments
    for text, message in (("option:3->last", "no such option"), ("frame:9->last", "has 3 frames")):
        with pytest.raises(BadInputError, match=message):
            told_tables([find_pathway(text)], segments)
    with pytest.raises(BadInputError, match="sink: nothing says"):
        told_tables([find_pathway("sink->last")], replay_of("llava_next_video").segments)
    for text in ("option:0->last", "option:->last", "option:1->video"):
        with pytest.raises(UsageError):
            find_pathway(text)
