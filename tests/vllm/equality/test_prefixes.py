"""Prefix caching: follow-up questions about a video find its keys, and are answered as without."""

from collections.abc import Sequence
from itertools import count

import numpy as np
import pytest

from tests.vllm.engine import answer_of, greedy
from tests.vllm.requests import TURNS, Answer, Request
from tests.vllm.served import TOLERANCE, Served

FIRST, SECOND, THIRD, OTHER, ELSEWHERE = TURNS


def check(served: Served, requests: Sequence[Request], answers: Sequence[Answer]) -> None:
    for request, answer in zip(requests, answers, strict=True):
        expected = served.reference.pruned(request, len(answer.tokens))
        assert answer.tokens == expected.tokens, request.name
        assert answer.distance(expected) < TOLERANCE, request.name


def until_the_end_of_the_video(served: Served, request: Request) -> int:
    ids = request.inputs(served.engine.processor)["input_ids"][0]
    video = served.reference.model.config.video_token_id
    return int(np.flatnonzero(ids.numpy() == video)[-1]) + 1


@pytest.mark.parametrize("chunk", [2048, 48])
def test_follow_up_questions_find_the_video(served: Served, chunk: int) -> None:
    engine, state = served.engine, served.engine.state
    free, prefix = engine.free, until_the_end_of_the_video(served, FIRST)
    with engine.sharing() as found, engine.chunks(chunk):
        first = engine.answers([FIRST])
        before = state.computed
        second = engine.answers([SECOND])
        computed = state.computed - before
        rest = engine.answers([THIRD, OTHER, ELSEWHERE, FIRST])
    check(served, [FIRST, SECOND, THIRD, OTHER, ELSEWHERE, FIRST], [*first, *second, *rest])
    assert found == [0, prefix, prefix, prefix, 0, prefix]
    assert engine.free == free
    length = SECOND.inputs(engine.processor)["input_ids"].shape[1]
    assert computed <= (length - prefix + len(second[0].tokens)) * state.plan.plan.num_layers


def test_requests_at_once_share_a_prefix_that_is_still_in_use(served: Served) -> None:
    engine = served.engine
    free = engine.free
    requests = [FIRST, SECOND, OTHER, ELSEWHERE, THIRD]
    with engine.sharing() as found, engine.chunks(64):
        answers = engine.answers(requests)
    check(served, requests, answers)
    assert sum(hits > 0 for hits in found) >= 2
    assert engine.free == free


def test_a_prefix_whose_blocks_were_given_to_others_is_computed_again(served: Served) -> None:
    engine = served.engine
    with engine.sharing() as found:
        first = engine.answers([FIRST])
        # All free blocks to one request after another.
        held = engine.pool.get_new_blocks(engine.free)
        engine.pool.free_blocks(held)
        second = engine.answers([SECOND])
    check(served, [FIRST, SECOND], [*first, *second])
    assert found == [0, 0]


def test_preempted_requests_that_shared_a_prefix_are_resumed(served: Served) -> None:
    engine, llm, steps = served.engine, served.engine.llm.llm_engine, 70
    requests = [FIRST, SECOND, OTHER, ELSEWHERE, THIRD]
    free, found, taken = engine.free, {}, []
    with engine.sharing() as hits, engine.chunks(64), engine.preempted() as preempted:
        for request in requests:
            prompt = request.for_vllm(engine.processor)
            llm.add_request(request.name, prompt, greedy(steps))
        for step in count():
            if not llm.has_unfinished_requests():
                break
            if step == 24:
                # No block is left for answers to grow into.
                taken = engine.pool.get_new_blocks(engine.free)
            if taken and len(preempted) == 2:
                engine.pool.free_blocks(taken)
                taken = []
            found |= {one.request_id: answer_of(one) for one in llm.step() if one.finished}
    check(served, requests, [found[request.name] for request in requests])
    assert len(preempted) >= 2 and any(hits)
    assert engine.free == free
