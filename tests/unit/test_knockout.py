"""Which edges a knockout removes: windows, sets of pathways, options, KV heads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import prune
from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, UsageError
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.inputs.written import recall
from prune.kernels import allowed_edges
from prune.kernels.segment_attention.layout import MAX_ROLES
from prune.layout.fine_role import FineRole, with_parts
from prune.layout.knockout_tables import knockout_tables, merged, tell_options_apart
from prune.layout.pathway_names import find_pathway
from prune.layout.pathways import PATHWAYS, join, knockout
from prune.layout.reach import ALL, NONE, OTHER_FRAMES, dense_reach, limit_edges, narrowed
from prune.layout.segments import Role, Segments, segment
from prune.plan.plan import Plan
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture
from prune.runtime.enforce import MaskEnforcer
from prune.trace import incremental
from prune.trace.dense_pass import record_dense
from prune.trace.incremental import first_changed, knockout_logits
from prune.trace.knockout import Knockouts, knockout_masks, plain_logits
from prune.trace.leaks import open_ways
from prune.trace.sets import SETS, choose
from prune.trace.windows import Style, style_windows, window_layers


@pytest.mark.parametrize(
    ("style", "third", "count"),
    [
        (Style.CENTRE, [1, 2, 3], 5),
        (Style.INVERSE, [0, 4], 5),
        (Style.TOP_DOWN, [2, 3, 4], 5),
        (Style.BOTTOM_UP, [0, 1, 2], 5),
        (Style.FIRST_HALF, [0, 1], 1),
        (Style.EVERY, [0, 1, 2, 3, 4], 1),
    ],
)
def test_styles_are_the_papers(style: Style, third: list[int], count: int) -> None:
    windows = style_windows(style, 3, 5)
    assert len(windows) == count
    assert windows[2 if count > 1 else 0] == third


def test_sets_are_the_papers() -> None:
    names = {name: [p.name for p in pathways] for name, pathways in SETS.items()}
    assert names["paper"] == [
        "cross_frame", "video->question,options", "video->last", "question,options->last",
        "last->last",
    ]  # fmt: skip
    assert names["options"] == ["question->last", "true_option->last", "false_options->last"]
    assert names["true-option"][1:] == ["question->true_option", "video->true_option"]
    assert names["open-ended"] == [
        "video->question", "video->response", "video->last", "question->last", "response->last",
    ]  # fmt: skip


def test_only_the_sealed_set_leaves_no_way_around() -> None:
    assert open_ways(SETS["sealed"], 4) == []
    around = open_ways(SETS["paper"], 4)
    assert around[:2] == ["video → bridge → last", "video → tail → last"]
    assert all("bridge" in way or "tail" in way for way in around)


def test_choosing_pathways() -> None:
    chosen = choose(["cross-frame"], ["video->last", "cross_frame"])
    assert [p.name for p in chosen] == ["cross_frame", "video->last"]
    pairs = choose(["options"], None, pairs=True)
    assert [p.name for p in pairs[3:]] == [
        "question->last + true_option->last",
        "question->last + false_options->last",
        "true_option->last + false_options->last",
    ]
    assert choose(None, None) == SETS["all"]
    for wrong, message in (
        ((["papers"], None), "there are all, cross-frame, intra-frame"),
        ((["cross-frame"], None, True), "at least two"),
        ((None, ["video->nothing"]), "is not a role"),
    ):
        with pytest.raises(UsageError, match=message):
            choose(*wrong)


def test_joined_pathways_go_together() -> None:
    joined = find_pathway("cross_frame + video->question, options")
    parts = [PATHWAYS["cross_frame"], find_pathway("video->question,options")]
    assert joined == join(parts) and joined.name == "cross_frame + video->question,options"
    assert joined.title == "cross-frame + video → question, options"
    both, *alone = (knockout_tables([p])[1] for p in (joined, *parts))
    assert (both == alone[0].clip(max=alone[1])).all()
    assert (knockout(3, joined, [1]) == knockout(3, parts[0], [1]).clip(
        max=knockout(3, parts[1], [1]))).all()  # fmt: skip


def test_a_pathway_without_edges_is_refused() -> None:
    for text in ("question->video", "last->true_option", "tail->option_end", "options->bridge"):
        if text == "tail->option_end":  # The end of the last option is part of the tail.
            find_pathway(text)
            continue
        with pytest.raises(UsageError, match="has no edges"):
            find_pathway(text)


def test_closed_ranges_leave_no_token_out(tiny: LoadedModel, samples: list[Sample]) -> None:
    """Every token from the video to `last` is of the question or of an option, and of one alone."""
    sample = samples[2]
    inputs = read(tiny.processor, [sample], 8)
    spans = recall(inputs["input_ids"][0].tolist())
    before = segment(tiny.processor, inputs)
    told = tell_options_apart(before, sample.answer, spans)
    by_name = {p.name.removesuffix("->last"): set(with_parts(p.keys)) for p in SETS["closed"][5:8]}
    after = int((before.role[0] == Role.VIDEO).nonzero().max()) + 1
    roles = told.role[0, after:-1].tolist()
    assert all(sum(role in part for part in by_name.values()) == 1 for role in roles)
    decode = tiny.processor.tokenizer.decode
    said = {
        part: decode(inputs["input_ids"][0, told.role[0] == part]).strip()
        for part in (FineRole.STEM, FineRole.TRUE_OPTION)
    }
    assert said[FineRole.STEM] == sample.question
    assert said[FineRole.TRUE_OPTION].endswith(sample.options[sample.answer])
    ends = told.role[0] == FineRole.TRUE_END
    ends |= told.role[0] == FineRole.LAST_TRUE_END
    assert int(ends.sum()) == 1 and not decode(inputs["input_ids"][0, ends]).strip()


def test_merged_roles_keep_every_edge(tiny: LoadedModel, samples: list[Sample]) -> None:
    replay, _ = replay_of(tiny, samples[2])
    tables = knockout_tables([*SETS["published"], *SETS["closed"]])
    fewer, segments = merged(tables, replay.segments)
    assert fewer.shape[-1] <= MAX_ROLES < tables.shape[-1]
    for one, other in zip(tables[::3], fewer[::3], strict=True):
        layouts = (replay.segments, one), (segments, other)
        a, b = (allowed_edges(s.role, s.frame, torch.from_numpy(t), s.shape[1]) for s, t in layouts)
        assert (a == b).all()


@torch.no_grad()
@pytest.mark.parametrize("max_edges", [incremental.MAX_EDGES, 0], ids=["masks", "kernel"])
def test_frames_are_masked_by_hand(
    tiny: LoadedModel, samples: list[Sample], max_edges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Single frames cut off, by the incremental and the plain way, against masks of their own."""
    monkeypatch.setattr(incremental, "MAX_EDGES", max_edges)
    replay, before = replay_of(tiny, samples[2])
    names = ("frame:last->question,options", "frame:1->frame:8", "video->frame:3", "frame:8->last")
    pathways = [find_pathway(name) for name in names]
    frame, role = before.frame[0], before.role[0]
    asked = (role == Role.QUESTION) | (role == Role.OPTIONS)
    cut = [
        (frame == 7, asked), (frame == 0, frame == 7), (frame >= 0, frame == 2),
        (frame == 7, role == Role.LAST),
    ]  # fmt: skip
    size = len(role)
    masks = torch.ones(size, size, dtype=torch.bool).tril().repeat(len(cut), 1, 1)
    for mask, (keys, queries) in zip(masks, cut, strict=True):
        assert keys.any() and queries.any()
        mask[queries.nonzero(), keys.nonzero()[:, 0]] = False
    knockouts = Knockouts(pathways, 12, 3, style=Style.EVERY)
    with seam(tiny.model):
        plain = plain_logits(replay, knockouts)[:, 0, 0]
        fast = knockout_logits(record_dense(replay), pathways, knockouts.windows())[:, 0]
        for index, found in enumerate(zip(plain, fast, strict=True)):
            choice = torch.full((12, 1), index)
            by_hand = replay.last_logits(MaskEnforcer(masks, choice))[0]
            for row in found:
                torch.testing.assert_close(row, by_hand, atol=1e-4, rtol=1e-4)
    with pytest.raises(BadInputError, match="frame:9: the prompt has 8 frames"):
        knockout_masks(replay, [find_pathway("frame:9->last")], size)
    for text in ("frame:3->frame:1", "frame:last->frame:2", "last->frame:1"):
        with pytest.raises(UsageError, match="has no edges"):
            find_pathway(text)
    for text in ("frame:0->last", "frame:x->last", "frame->last"):
        with pytest.raises(UsageError, match="is not a role"):
            find_pathway(text)
    with pytest.raises(UsageError, match="only a trace"):
        knockout(3, find_pathway("frame:1->last"), [0])


def test_no_plan_can_tell_options_apart() -> None:
    with pytest.raises(UsageError, match="only a trace can distinguish"):
        knockout(3, find_pathway("true_option->last"), [0])


def replay_of(tiny: LoadedModel, sample: Sample) -> tuple[Replay, Segments]:
    """The replay with options told apart, and the layout as it was."""
    replay = capture(tiny.model, tiny.processor, read(tiny.processor, [sample], 8))
    told = tell_options_apart(replay.segments, sample.answer)
    return replace(replay, segments=told), replay.segments


@torch.no_grad()
@pytest.mark.parametrize("task", ["scene_transition", "moving_direction", "object_count"])
def test_true_and_false_options_are_masked_by_hand(
    tiny: LoadedModel, samples: list[Sample], task: str
) -> None:
    """Two, four and more options; the mask is made from option indices alone."""
    sample = next(s for s in samples if s.task == task)
    replay, before = replay_of(tiny, sample)
    size = before.shape[1]
    kept = torch.ones(size, size, dtype=torch.bool).tril()
    true = before.option[0] == sample.answer
    false = (before.option[0] >= 0) & ~true
    assert true.any() and false.any()
    masks = torch.stack([kept, kept.clone(), kept.clone()])
    masks[1, -1, true] = False
    masks[2, -1, false] = False
    choice = torch.tensor([0] * 4 + [1] * 3 + [0] * 5)
    pathways = [find_pathway("true_option->last"), find_pathway("false_options->last")]
    with seam(tiny.model):
        got = plain_logits(replay, Knockouts(pathways, 12, 3))[:, 5, 0]
        for row, factor in zip(got, (1, 2), strict=True):
            by_hand = replay.last_logits(MaskEnforcer(masks, choice[:, None] * factor))[0]
            torch.testing.assert_close(row, by_hand, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_all_options_are_the_true_and_the_false_ones(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    replay, before = replay_of(tiny, samples[0])
    assert (replay.segments.role > max(Role)).sum() == before.count(Role.OPTIONS)
    texts = ("options->last", "true_option,false_options->last", "options_to_last",
             "true_option->last + false_options->last")  # fmt: skip
    with seam(tiny.model):
        logits = plain_logits(replay, Knockouts([find_pathway(t) for t in texts], 12, 3))
    assert (logits == logits[0]).all()


@torch.no_grad()
def test_one_kv_head_is_cut_as_a_plan_cuts_it(tiny: LoadedModel, samples: list[Sample]) -> None:
    sample, pathway = samples[2], find_pathway("video->question")
    inputs = read(tiny.processor, [sample], 8)
    replay, _ = replay_of(tiny, sample)
    with seam(tiny.model):
        knockouts = Knockouts([pathway], 12, 3, heads=(0, 3))
        got = plain_logits(replay, knockouts)[0, 1].log_softmax(-1)
    for column, head in enumerate((0, 3)):
        reach = dense_reach(12, groups=4)
        one = reach[:, head : head + 1]
        limit_edges(one, window_layers(1, 3, 12), pathway.queries, pathway.keys, pathway.limit)
        with prune.apply(tiny.model, Plan(reach, tiny.id, "one"), processor=tiny.processor):
            logp = tiny.model(**inputs).logits[0, -1].log_softmax(-1)
        torch.testing.assert_close(got[column], logp, atol=1e-4, rtol=1e-4)


def test_rows_before_the_first_lost_edge_are_not_run_again(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    replay, _ = replay_of(tiny, samples[0])
    frame, role = replay.segments.frame[0], replay.segments.role[0]
    expected = {
        "cross_frame": int((frame == 1).int().argmax()),
        "video_to_video": int((role == Role.VIDEO).int().argmax()),
        "video_to_question": int((role == Role.QUESTION).int().argmax()),
        "video->last + cross_frame": int((frame == 1).int().argmax()),
        "true_option->last": len(role) - 1,
        "response->last": len(role),
    }
    for name, row in expected.items():
        assert first_changed(replay, find_pathway(name)) == row
        dense, cut = knockout_masks(replay, [find_pathway(name)], len(role))
        differ = (dense != cut).any(1).nonzero()[:, 0].tolist()
        assert differ[:1] == ([row] if row < len(role) else [])


def test_within_a_frame_only_the_other_frames_are_left() -> None:
    role, frame = [0, 0, 1, 1, 2, 1, 1, 4, 7], [-1, -1, 0, 0, 1, 1, 1, -1, -1]
    whole, cut = (
        allowed_edges(
            torch.tensor([role], dtype=torch.int8),
            torch.tensor([frame], dtype=torch.int32),
            torch.from_numpy(reach[0]),
            len(role),
        )[0, 0]
        for reach in (dense_reach(1), knockout(1, find_pathway("intra_frame"), [0]))
    )
    gone = {(q, k) for q, k in (whole & ~cut).nonzero().tolist()}
    assert (
        gone == {(q, k) for q in range(9) for k in range(q + 1) if frame[q] == frame[k] >= 0}
        and not (cut & ~whole).any()
    )
    both = knockout(1, join([PATHWAYS["cross_frame"], PATHWAYS["intra_frame"]]), [0])
    assert (both == knockout(1, PATHWAYS["video_to_video"], [0])).all()


@pytest.mark.parametrize("first", [NONE, 0, 2, ALL, ~1, ~3, OTHER_FRAMES])
@pytest.mark.parametrize("second", [NONE, 0, 2, ALL, ~1, ~3, OTHER_FRAMES])
def test_narrowed_is_the_intersection(first: int, second: int) -> None:
    def distances(reach: int) -> set[int]:
        return set(range(1, min(~reach, 9) + 1)) if reach < 0 else set(range(min(reach, 9) + 1))

    found = int(narrowed(np.array([first], np.int32), second)[0])
    assert distances(found) == distances(first) & distances(second)
    assert (found == NONE) == (not distances(found))
