"""A tiny random model whose every edge matters."""

import pytest

from tests.families.specimen import Tiny, tiny_of


@pytest.fixture(scope="session")
def random_tiny() -> Tiny:
    return tiny_of("llava_next_video")
