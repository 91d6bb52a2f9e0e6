"""The other families: whole prompts, chunks and follow-up questions as in the masked dense model.

LLaVA-OneVision's are those of a healed model (`test_healed.py`).
"""

from pathlib import Path

import pytest

from tests.vllm.requests import REQUESTS, TURNS, Request
from tests.vllm.served import TOLERANCE, serve


def unfit(name: str, request: Request) -> bool:
    """Whether vLLM runs a request otherwise than transformers, pruned or not."""
    # vLLM's model of this family takes one video, and no images.
    return name == "llava_next_video" and bool(request.images or request.clips[1:])


@pytest.mark.parametrize("name", ["qwen2_vl", "llava_next_video", "internvl"])
def test_a_family_in_vllm_is_the_masked_model(name: str, tmp_path: Path) -> None:
    requests = [one for one in REQUESTS if not unfit(name, one)]
    limits = {"limit_mm_per_prompt": {"video": 1}} if name == "llava_next_video" else {}
    served = serve(name, tmp_path, **limits)
    free = served.engine.free
    try:
        for chunk in (2048, 96):
            with served.engine.chunks(chunk):
                served.check(requests, served.engine.answers(requests))
        with served.engine.sharing() as found:
            for turn in TURNS[:2]:
                served.check([turn], served.engine.answers([turn]))
        assert found[0] == 0 < found[1]
        assert served.engine.free == free
        for request in requests:
            if request.clips:
                dense = served.reference.dense(request)
                assert dense.distance(served.expected(request)) > 100 * TOLERANCE
    finally:
        served.engine.close()
