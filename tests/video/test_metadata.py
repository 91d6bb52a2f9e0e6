"""What transformers makes of the metadata: true times, and the true rate of the sampled frames."""

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers.video_utils import VideoMetadata

from prune.inputs.video import load_video


@pytest.mark.parametrize("bounds", [(None, None), (1.0, 3.0), (4.0, 4.8)])
def test_times_and_rate(bounds: tuple[float | None, float | None], corpus: Callable) -> None:
    path: Path = corpus("variable-rate.mp4")
    starts = [k * 0.5 for k in range(8)] + [4 + k * 0.05 for k in range(16)]
    _, about = load_video(path, 4, *bounds)
    metadata = VideoMetadata(**about)
    low, high = bounds[0] or 0, bounds[1] or 4.8
    middles = [low + (i + 0.5) * (high - low) / 4 for i in range(4)]
    shown = [max(s for s in starts if s <= middle + 1e-9) for middle in middles]
    assert metadata.timestamps == pytest.approx(shown)
    assert metadata.sampled_fps == pytest.approx(4 / (high - low))


def test_indices_are_whole_where_the_rate_is_constant(corpus: Callable) -> None:
    for name in ("ntsc.mkv", "rotated-90.mp4", "starts-late.ts"):
        _, about = load_video(corpus(name), 5, end=1.0)
        assert all(isinstance(index, int) for index in about["frames_indices"])
