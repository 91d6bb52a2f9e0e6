"""Every fast way to score regions gives what one full pass per candidate gives."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from prune.checkpoint.load import LoadedModel
from prune.errors import RefusedError, UsageError
from prune.evidence.case import open_case
from prune.evidence.fill import FILLS
from prune.evidence.forced import TeacherForcing, forced_replay
from prune.evidence.masked import MaskedScorer
from prune.evidence.pixels import PixelScorer
from prune.evidence.plain import LayerMasks, PlainScorer
from prune.evidence.regions import Regions, grid, superpixels, tubes
from prune.evidence.reply import find_target
from prune.evidence.tokens import VideoTokens
from prune.families import video_families
from prune.inputs.encode import decode, encode, read
from prune.inputs.reply import greedy_reply
from prune.inputs.samples import Sample
from prune.kernels import allowed_edges
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import dense_reach
from prune.layout.segments import Role
from prune.plan.model_id import geometry
from prune.plan.plan import Plan
from prune.runtime.apply import apply
from prune.runtime.attention import seam
from tests.evidence.fakes import tokens_of
from tests.families.reference import frozen, random_frozen_plan, random_plan
from tests.families.specimen import Tiny, tiny_of


def subsets(count: int, rows: int = 6) -> np.ndarray:
    """Nothing, everything, and random sets of regions, bool `[rows, R]`."""
    visible = np.random.default_rng(0).random((rows, count)) < 0.5
    visible[0], visible[1] = False, True
    return visible


@pytest.mark.parametrize("pruned", [False, True])
def test_masked_tokens_equal_one_pass_per_candidate(
    tiny: LoadedModel, samples: list[Sample], pruned: bool
) -> None:
    sample, clip = samples[0], decode(samples[0], 8)
    inputs = encode(tiny.processor, [sample], [clip])
    reach = None
    if pruned:
        reach = dense_reach(12)
        remove_pathway(reach, PATHWAYS["cross_frame"], slice(3, 9))
        remove_pathway(reach, PATHWAYS["last_to_last"], slice(0, None))
    reply = greedy_reply(tiny.model, inputs)
    regions = grid(clip[0], 9)
    forcing = TeacherForcing(forced_replay(tiny.model, tiny.processor, inputs, reply), reply, reach)
    visible = subsets(regions.count)
    fast = MaskedScorer(forcing, regions, tokens_of(tiny, inputs, forcing, clip))
    slow = PlainScorer(tiny.model, tiny.processor, sample, clip, tuple(reply), regions, reach=reach)
    assert fast.probabilities(visible) == pytest.approx(slow.probabilities(visible), abs=2e-5)
    assert fast.forwards == slow.forwards == len(visible)


@pytest.mark.parametrize(("fill", "cut"), [("black", superpixels), ("blur", tubes)])
def test_recombined_frames_equal_encoding_every_candidate(
    tiny: LoadedModel, samples: list[Sample], fill: str, cut
) -> None:
    sample, clip = samples[2], decode(samples[2], 8)
    inputs = encode(tiny.processor, [sample], [clip])
    reply = greedy_reply(tiny.model, inputs)
    forcing = TeacherForcing(forced_replay(tiny.model, tiny.processor, inputs, reply), reply)
    regions, filled = cut(clip[0], 9), FILLS[fill](clip[0])
    fast = PixelScorer(forcing, regions, tiny.processor, sample, clip, filled)
    slow = PlainScorer(tiny.model, tiny.processor, sample, clip, tuple(reply), regions, filled)
    visible = subsets(regions.count)
    assert fast.probabilities(visible) == pytest.approx(slow.probabilities(visible), abs=2e-5)
    assert len(fast.units) == 8
    before = fast.encoded
    fast.probabilities(visible[::-1])
    assert fast.encoded == before, "a unit seen before is not encoded again"


def test_frames_that_see_each_other_are_encoded_together(
    tiny: LoadedModel, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = decode(samples[0], 8)
    inputs = encode(tiny.processor, samples[:1], [clip])
    forcing = TeacherForcing(forced_replay(tiny.model, tiny.processor, inputs, [5]), [5])
    scorer = PixelScorer(
        forcing, grid(clip[0], 4), tiny.processor, samples[0], clip, FILLS["black"](clip[0])
    )
    encode_clips = scorer._encode
    # A tower that mixes frames: every feature holds the mean of the clip.
    monkeypatch.setattr(
        scorer, "_encode", lambda clips: [f + f.mean(0) for f in encode_clips(clips)]
    )
    assert len(scorer.units) == 1


def dense_plan(model: Any) -> Plan:
    return Plan.dense(geometry(model))


@pytest.mark.parametrize("name", video_families())
@pytest.mark.parametrize("make_plan", [dense_plan, random_plan, random_frozen_plan])
def test_leaving_tokens_out_is_masking_them_in_every_family(name: str, make_plan: Any) -> None:
    tiny: Tiny = tiny_of(name)
    prompt = ("Watch this. USER: ", 4, "Question: what?\nOptions:\n(A) one\n(B) two\nBest option:(")
    inputs = tiny.inputs(prompt)
    plan = make_plan(tiny.model)
    reply = [7, 9, 11]
    replay = forced_replay(tiny.model, tiny.processor, inputs, reply)
    forcing = TeacherForcing(replay, reply, plan.reach)
    frame = replay.segments.frame[0, forcing.video].numpy()
    shown = subsets(len(frame), 4)
    shown[3] = frame > 0
    with frozen(tiny, plan, replay.segments, None):
        masked = PlainMasks(replay, reply, plan.reach)(shown, forcing.video)
    assert forcing.probabilities(shown) == pytest.approx(masked, rel=2e-4)
    # One after the other, each behind what those before it have computed.
    known = forcing.nothing_known()
    for row, expected in zip(shown, masked, strict=True):
        assert forcing.probabilities(row[None], known=known)[0] == pytest.approx(expected, rel=2e-4)


class PlainMasks:
    """Full-length passes of a replay with keys masked, one at a time."""

    def __init__(self, replay, reply, reach) -> None:
        self.replay, self.reply, self.reach = replay, reply, reach

    @torch.no_grad()
    def __call__(self, shown: np.ndarray, video: torch.Tensor) -> np.ndarray:
        found = []
        segments = self.replay.segments
        for row in shown:
            keys = torch.ones(segments.shape[1], dtype=torch.bool)
            keys[video] = torch.from_numpy(row)
            masks = [
                allowed_edges(segments.role, segments.frame, torch.from_numpy(t), len(keys)) & keys
                for t in self.reach
            ]
            with seam(self.replay.model):
                hidden = self.replay.text_model(
                    **{**self.replay.kwargs, "past_key_values": None, "use_cache": False},
                    prune=LayerMasks(masks),
                ).last_hidden_state
            logits = self.replay.model.get_output_embeddings()(hidden)[0, -4:-1].double()
            found.append(logits.softmax(-1)[range(3), self.reply].numpy())
        return np.stack(found)


def test_long_prompts_go_through_the_kernel(
    tiny: LoadedModel, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = read(tiny.processor, samples[:1], 8)
    replay = forced_replay(tiny.model, tiny.processor, inputs, [5, 6])
    forcing = TeacherForcing(replay, [5, 6])
    shown = subsets(len(forcing.video), 3)
    by_mask = forcing.probabilities(shown)
    monkeypatch.setattr("prune.evidence.forced.MAX_EDGES", 0)
    assert forcing.probabilities(shown) == pytest.approx(by_mask, rel=1e-4)


def test_the_reply_under_a_plan_is_the_pruned_models(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    inputs = read(tiny.processor, samples[:1], 8)
    reach = dense_reach(12)
    remove_pathway(reach, PATHWAYS["video_to_question_sealed"], slice(0, None))
    plan = Plan(reach, tiny.id, "blind")
    dense = greedy_reply(tiny.model, inputs)
    with apply(tiny.model, plan, processor=tiny.processor):
        pruned = greedy_reply(tiny.model, inputs, max_new_tokens=4)
    case = open_case(tiny.model, tiny.processor, samples[0], plan=plan)
    assert list(case.target.ids[:4]) == pruned
    forcing = TeacherForcing(
        forced_replay(tiny.model, tiny.processor, inputs, pruned), pruned, reach
    )
    p = forcing.probabilities(np.ones((1, len(forcing.video)), bool))
    assert dense and 0 < p.min() and p[0, 0] > 1 / 475


def test_targets(tiny: LoadedModel, samples: list[Sample]) -> None:
    sample = next(s for s in samples if s.task == "scene_transition")
    reply = greedy_reply(tiny.model, read(tiny.processor, [sample], 8))

    def positions(spec: str) -> tuple[int, ...]:
        return find_target(spec, reply, tiny.processor, sample).positions

    texts = find_target("sentence", reply, tiny.processor, sample).texts
    assert texts[:3] == (sample.letters[sample.answer], ")", " from")
    assert positions("answer") == (0,)
    assert positions("sentence") == tuple(range(len(reply)))
    assert positions("word:from") == (2,) and positions("word:) from") == (1, 2)
    assert positions("tokens:0,3") == (0, 3)
    other = sample.letters[1 - sample.answer]
    counter = find_target(f"counter:{other}", reply, tiny.processor, sample)
    assert counter.texts == (other,) and counter.positions == (0,)
    for wrong in ("counter:Z", "word:giraffe", "tokens:99", "tokens:x", "verse"):
        with pytest.raises(UsageError, match="target"):
            positions(wrong)


def test_tokens_show_the_part_that_is_not_cropped_off(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    """Columns of tokens show the middle half of a wide frame, whose regions are its quarters."""
    clip = decode(samples[0], 8)
    inputs = encode(tiny.processor, samples[:1], [clip])
    forcing = TeacherForcing(forced_replay(tiny.model, tiny.processor, inputs, [5]), [5])
    segments, height = forcing.replay.segments, clip[0].shape[1]
    quarters = np.repeat(np.arange(4), height // 2)
    regions = Regions.of(np.broadcast_to(quarters, (8, height, 2 * height)))
    seen = (0, height / 2, height, 1.5 * height)
    tokens = VideoTokens(tiny.processor, inputs, segments, seen)
    found = tokens.regions(regions).reshape(8, 3, 3)
    assert set(found[..., 0].ravel()) == {1} and set(found[..., 2].ravel()) == {2}
    drawn = tokens.map(np.ones(72), (8, height, 2 * height))
    assert drawn[:, :, height // 2 : -height // 2].all() and drawn.sum() == 8 * height**2


def test_tokens_find_their_regions(tiny: LoadedModel, samples: list[Sample]) -> None:
    clip = decode(samples[0], 8)
    inputs = encode(tiny.processor, samples[:1], [clip])
    forcing = TeacherForcing(forced_replay(tiny.model, tiny.processor, inputs, [5]), [5])
    segments, tokens = forcing.replay.segments, tokens_of(tiny, inputs, forcing, clip)
    assert tokens.shape == (8, 3, 3)
    assert np.array_equal(tokens.regions(grid(clip[0], 9)), np.arange(72))
    with pytest.raises(RefusedError, match="regions are smaller than a visual token"):
        MaskedScorer(forcing, grid(clip[0], 25), tokens)
    ragged = replace(segments, frame=segments.frame.clone())
    ragged.frame[0, (segments.role[0] == Role.VIDEO).nonzero()[0, 0] + 8] = 1
    with pytest.raises(RefusedError, match="form no grid"):
        replace(tokens, segments=ragged).regions(grid(clip[0], 9))


@pytest.mark.parametrize("name", video_families())
def test_every_cell_of_every_family_has_its_region(name: str) -> None:
    """Of which cell a token is, `tests/families/test_grid.py` says from its pixels."""
    tiny = tiny_of(name)
    inputs = tiny.inputs(("USER: ", 4, "Question: what?"))
    replay = forced_replay(tiny.model, tiny.processor, inputs, [5])
    regions = grid(np.zeros((4, 8, 8, 3), np.uint8), 4)
    tokens = VideoTokens(tiny.processor, inputs, replay.segments, (0, 0, 8, 8))
    units = len(tiny.specimen.units(4))
    assert tokens.shape == (units, 2, 2)
    found, per_unit = tokens.regions(regions), 4 // units
    inside = tokens.cells >= 0
    unit, cell = np.divmod(tokens.cells[inside], 4)
    assert len(inside) == len(found) and np.array_equal(tokens.units[inside], unit)
    assert np.array_equal(found[inside], 4 * per_unit * unit + cell)
