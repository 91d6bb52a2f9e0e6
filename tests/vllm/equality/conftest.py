"""The engines of these tests; each starts once."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.vllm.served import Served


@pytest.fixture(scope="package", params=["qwen2_5_vl", "qwen3_vl"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Served]":
    # Not there in environments without vLLM, which read this file.
    from tests.vllm.served import serve

    found = serve(request.param, tmp_path_factory.mktemp(request.param))
    yield found
    found.engine.close()
