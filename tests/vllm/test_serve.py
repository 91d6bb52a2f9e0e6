"""`vllm serve DIR`: the plan in a server of several processes, asked through OpenAI's API."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from tests.vllm.folders import LAYERS, both
from tests.vllm.requests import REQUESTS, STEPS, Reference, clip
from tests.vllm.served import TOLERANCE
from tests.vllm.server import Server, body, decoded, mp4, serving

CHATS = [one for one in REQUESTS if len(one.clips) == 1 and not one.images]


@dataclass
class Both:
    server: Server
    reference: Reference


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Both]":
    root = tmp_path_factory.mktemp("served")
    model, processor, plan, folder = both("qwen3_vl", root)
    flags = ("--dtype", "float32", "--max-model-len", "2048")
    flags += ("--kv-cache-memory-bytes", str(256 << 20))
    with serving(folder, root / "log", *flags) as server:
        yield Both(server, Reference(model, processor, plan))


@pytest.fixture
def server(started: Both) -> Server:
    return started.server


@pytest.fixture
def reference(started: Both) -> Reference:
    return started.reference


def test_concurrent_chats_are_the_masked_model_s(
    server: Server, reference: Reference, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(len(CHATS)) as clients:
        answers = list(clients.map(server.chat, CHATS))
    for request, answer in zip(CHATS, answers, strict=True):
        clip = decoded(mp4(request.clips[0][0]), tmp_path)
        same = replace(request, clips=(clip,))
        expected = reference.pruned(same)
        assert answer.tokens == expected.tokens, request.name
        assert answer.distance(expected) < TOLERANCE, request.name
        dense = reference.dense(same)
        assert dense.distance(expected) > 100 * TOLERANCE, request.name


def test_a_plan_is_counted_at_the_metrics_of_vllm(server: Server) -> None:
    names = (
        "states_computed",
        "states_keys_only",
        "states_dense",
        "blocks_freed",
        "dense_requests",
    )
    server.chat(CHATS[1])
    server.wait()
    before = {name: server.metric(f"prune_{name}_total") for name in names}
    # Of a clip that the server has seen it would find the states in its prefix cache.
    server.chat(replace(CHATS[1], clips=(clip(40, 24, 112, 140),)))
    server.wait()
    more = {name: server.metric(f"prune_{name}_total") - before[name] for name in names}
    taken = more["states_computed"] + more["states_keys_only"]
    assert 0 < more["states_computed"] < taken < 0.7 * more["states_dense"]
    assert more["blocks_freed"] > 0 and more["dense_requests"] == 0
    assert server.metric("prune_layers") == LAYERS


def test_a_client_that_is_gone_leaves_no_blocks(server: Server) -> None:
    request = body(CHATS[0], max_tokens=1500, min_tokens=1500, stream=True)
    with httpx.stream(
        "POST", f"{server.url}/v1/chat/completions", json=request, timeout=60
    ) as reply:
        lines = (line for line in reply.iter_lines() if line.startswith("data: {"))
        for _ in range(3):
            assert json.loads(next(lines).removeprefix("data: "))["choices"] is not None
        assert server.metric("vllm:num_requests_running") == 1
    server.wait()
    assert server.metric("vllm:kv_cache_usage_perc") == 0
    bad = httpx.post(
        f"{server.url}/v1/chat/completions",
        json={"messages": [{"role": "user", "content": "word " * 5000}]},
        timeout=60,
    )
    assert bad.status_code == 400
    assert len(server.chat(CHATS[1]).tokens) == STEPS
