"""Partitions cover a clip, follow what is in it, and the token grid where asked."""

import random

import numpy as np
import pytest

from prune.errors import BadInputError, UsageError
from prune.evidence.regions import PARTITIONS, Regions, grid, partition, tubes, whole_frames
from prune.evidence.regions.align import align
from prune.evidence.regions.refine import refine
from prune.tiny.draw import CLIP_TIMES, coverage, render
from prune.tiny.scenes import sample_scene

SCENE = sample_scene("moving_direction", random.Random(1))
TIMES = CLIP_TIMES[1::2]
FRAMES = render(SCENE, TIMES)


@pytest.mark.parametrize("name", PARTITIONS)
@pytest.mark.parametrize("shape", [(8, 96, 96), (3, 50, 37)])
def test_regions_are_disjoint_and_cover_the_clip(name: str, shape: tuple[int, ...]) -> None:
    frames = FRAMES[: shape[0], : shape[1], : shape[2]]
    regions = partition(name, frames, 16)
    masks = np.stack([regions.shown(one) for one in np.eye(regions.count, dtype=bool)])
    assert masks.shape == (regions.count, *shape)
    assert (masks.sum(0) == 1).all() and masks.any((1, 2, 3)).all()
    assert regions.area == pytest.approx(masks.mean((1, 2, 3)))
    chosen = np.arange(regions.count) % 2 == 0
    assert np.array_equal(regions.shown(chosen), masks[chosen].any(0))


def test_grid_and_frames_have_the_regions_they_say() -> None:
    assert whole_frames(FRAMES).count == 8
    cells = grid(FRAMES, 9)
    assert cells.count == 72
    assert cells.labels[2, 95, 0] == 2 * 9 + 6 and cells.area == pytest.approx(1 / 72)


def test_superpixels_keep_to_the_edges_of_shapes() -> None:
    inside = coverage(SCENE.actor, TIMES) > 0.5
    regions = partition("superpixels", FRAMES, 36)
    share = regions.means(inside.astype(float))
    assert regions.area[(share > 0.2) & (share < 0.8)].sum() < 0.05
    in_frame = [set(np.unique(frame)) for frame in regions.labels]
    assert sum(map(len, in_frame)) == len(set.union(*in_frame)), "none is shared by two frames"


def test_a_tube_follows_a_moving_shape() -> None:
    inside = coverage(SCENE.actor, TIMES) > 0.5
    regions = tubes(FRAMES, 36)
    overlap = np.bincount(regions.labels[inside], minlength=regions.count)
    mask = regions.labels == overlap.argmax()
    assert mask.any((1, 2)).all()
    for frame in (0, 7):
        both, either = (mask & inside)[frame].sum(), (mask | inside)[frame].sum()
        assert both / either > 0.5, "the tube stays on the shape"


def test_refine_cuts_the_chosen_regions_alone() -> None:
    regions = refine(whole_frames(FRAMES), [2, 5], grid(FRAMES, 9))
    assert regions.count == 6 + 2 * 9
    assert [len(np.unique(frame)) for frame in regions.labels] == [1, 1, 9, 1, 1, 9, 1, 1]


def test_aligned_regions_are_whole_tokens() -> None:
    regions = align(partition("superpixels", FRAMES, 16), (4, 3, 3))
    cells = regions.labels.reshape(4, 2, 3, 32, 3, 32).transpose(0, 2, 4, 1, 3, 5).reshape(36, -1)
    assert (cells == cells[:, :1]).all()
    assert np.array_equal(align(grid(FRAMES, 9), (8, 3, 3)).labels, grid(FRAMES, 9).labels)


def test_what_is_no_partition_is_refused() -> None:
    with pytest.raises(UsageError, match="regions 'stars': expected frames"):
        partition("stars", FRAMES, 3)
    with pytest.raises(BadInputError, match="labels"):
        Regions(np.array([[[0, 2]]], np.int32))
