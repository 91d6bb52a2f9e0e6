"""One loaded model, many threads: what belongs to a pass is its own."""

from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import pytest
import torch
from transformers import TextIteratorStreamer

import prune
from tests.families.specimen import Prompt, Tiny
from tests.runtime.conversation import BLIND, ONE, UNEQUAL, layers_of, narrow_plan

BATCHES: list[list[Prompt]] = [
    [ONE],
    UNEQUAL[:2],
    [("USER: ", 2, " Question: " + "w" * 70 + "? ASSISTANT: ")],
    [BLIND],
    [("USER: ", 4, " What?\nA. abc\nB. abd\nASSISTANT: ")],
]


def ask(tiny: Tiny, batch: Any) -> list[list[int]]:
    out = tiny.model.generate(**batch, max_new_tokens=5, do_sample=False)
    return out[:, batch["input_ids"].shape[1] :].tolist()


@torch.no_grad()
@pytest.mark.parametrize("skip", ["all", "none"])
def test_answers_of_threads_are_those_of_one_after_another(random_tiny: Tiny, skip: Any) -> None:
    batches = [random_tiny.inputs(*prompts) for prompts in BATCHES]
    plan = narrow_plan(random_tiny.model)
    dense = [ask(random_tiny, batch) for batch in batches]
    with prune.apply(random_tiny.model, plan, processor=random_tiny.processor, skip=skip):
        alone = [ask(random_tiny, batch) for batch in batches]
        before = prune.launches(random_tiny.model)
        calls, states = list(before.calls), before.states
        with ThreadPoolExecutor(20) as pool:
            given = list(pool.map(lambda i: ask(random_tiny, batches[i % 5]), range(100)))
        assert given == [alone[i % 5] for i in range(100)]
        ran = prune.launches(random_tiny.model)
        # The first request of each batch was counted once, and the 20 others of each too.
        assert [now - then for now, then in zip(ran.calls, calls, strict=True)] == [
            20 * then for then in calls
        ]
        assert ran.states - states == 20 * states
        assert [ask(random_tiny, batch) for batch in batches] == alone
    assert alone[3] == dense[3] and alone != dense
    assert [ask(random_tiny, batch) for batch in batches] == dense


@torch.no_grad()
def test_streams_do_not_mix(random_tiny: Tiny) -> None:
    batches = [random_tiny.inputs(*prompts) for prompts in BATCHES if len(prompts) == 1]
    tokenizer = random_tiny.processor.tokenizer

    def stream(batch: Any) -> str:
        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
        options = {"max_new_tokens": 5, "do_sample": False, "streamer": streamer}
        thread = Thread(target=lambda: random_tiny.model.generate(**batch, **options))
        thread.start()
        text = "".join(streamer)
        thread.join()
        return text

    with prune.apply(
        random_tiny.model, narrow_plan(random_tiny.model), processor=random_tiny.processor
    ):
        alone = [tokenizer.decode(ask(random_tiny, batch)[0]) for batch in batches]
        with ThreadPoolExecutor(8) as pool:
            given = list(pool.map(lambda i: stream(batches[i % 4]), range(24)))
    assert given == [alone[i % 4] for i in range(24)]


@torch.no_grad()
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_after_an_interrupt_the_model_answers_as_before(
    random_tiny: Tiny, stop: type[BaseException]
) -> None:
    batch = random_tiny.inputs(ONE)
    plan = narrow_plan(random_tiny.model)

    def fail(*args: Any) -> None:
        raise stop

    def hooks() -> int:
        found = random_tiny.model.modules()
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in found)

    outside, dense = hooks(), ask(random_tiny, batch)
    with prune.apply(random_tiny.model, plan, processor=random_tiny.processor):
        alone, inside = ask(random_tiny, batch), hooks()
        handle = layers_of(random_tiny)[2].mlp.register_forward_hook(fail)
        with pytest.raises(stop):
            ask(random_tiny, batch)
        handle.remove()
        assert ask(random_tiny, batch) == alone and hooks() == inside
    assert hooks() == outside and ask(random_tiny, batch) == dense
