"""The clips: a plain one of our own, and the corpus, each made once."""

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from prune.inputs.video import write_video
from prune.tiny.draw import FPS, render
from prune.tiny.scenes import sample_scene
from tests.video.corpus import make


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 frames of 96x96 at 8 per second."""
    path = tmp_path_factory.mktemp("plain") / "plain.mp4"
    write_video(path, render(sample_scene("moving_direction", random.Random(0))), FPS)
    return path


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of a clip of the corpus; not to be written to."""
    folder = tmp_path_factory.mktemp("corpus")
    return cache(lambda name: make(name, folder))
