"""The torchcodec backend keeps the contract, where torchcodec can be imported."""

from collections.abc import Callable

import pytest

from prune.inputs.video import load_video

try:
    import torchcodec.decoders  # noqa: F401
except (ImportError, OSError, RuntimeError):
    pytest.skip("torchcodec cannot be imported", allow_module_level=True)

SAME = ["cut.mp4", "rotated-90.mp4", "mirrored.mp4", "variable-rate.mp4", "ten-bit.mp4"]
SAME += ["open-groups.mkv", "starts-late.ts", "size-changes.ts", "raw.h264", "b-frames.avi"]


@pytest.mark.parametrize("name", SAME)
def test_equal_frames_and_metadata(name: str, corpus: Callable) -> None:
    want, expected = load_video(corpus(name), 12)
    got, found = load_video(corpus(name), 12, backend="torchcodec")
    assert (got == want).all()
    assert found == expected | {"video_backend": "torchcodec"}
