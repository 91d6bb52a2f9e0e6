"""An active plan counts what it runs, and never lets a layer run dense unseen."""

import pytest
import torch

import prune
from prune.checkpoint.load import LoadedModel
from prune.errors import RefusedError
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.kernels import Impl
from prune.layout.reach import dense_reach
from prune.plan.plan import Plan
from prune.runtime.captured import capture
from prune.runtime.launches import CountingEnforcer, Launches
from prune.runtime.prefill import pruned_states
from tests.unit.test_apply import mixed_plan


@pytest.fixture(scope="module")
def plan(tiny: LoadedModel) -> Plan:
    return mixed_plan(tiny)


@torch.no_grad()
def test_states_are_those_whose_mlp_ran(
    tiny: LoadedModel, plan: Plan, samples: list[Sample]
) -> None:
    inputs = read(tiny.processor, samples[:3], 8)
    ran: list[int] = []
    text_model = tiny.model.model.language_model
    with prune.apply(tiny.model, plan, processor=tiny.processor, skip="all"):
        handles = [
            layer.mlp.down_proj.register_forward_hook(
                lambda module, args, out: ran.append(out.shape[0] * out.shape[1])
            )
            for layer in text_model.layers
        ]
        tiny.model(**inputs)
        found = prune.launches(tiny.model)
        for handle in handles:
            handle.remove()
    assert found.computed == sum(ran) < found.states
    assert found.states == inputs["input_ids"].numel() * plan.num_layers
    assert found.calls == [1] * plan.num_layers


def test_decode_steps_count_as_calls_and_not_as_states(
    tiny: LoadedModel, plan: Plan, samples: list[Sample]
) -> None:
    inputs = read(tiny.processor, samples[:1], 8)
    with prune.apply(tiny.model, plan, processor=tiny.processor):
        tiny.model(**inputs, use_cache=False)
        once = prune.launches(tiny.model)
        computed, states = once.computed, once.states
        tiny.model.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)
        assert once.total == plan.num_layers * 5
        assert (once.computed, once.states) == (2 * computed, 2 * states)
    with prune.apply(tiny.model, plan, processor=tiny.processor, skip="none"):
        tiny.model(**inputs)
        masked = prune.launches(tiny.model)
    assert masked.computed == masked.states == states


def test_counts_end_with_the_plan(tiny: LoadedModel, plan: Plan) -> None:
    with prune.apply(tiny.model, plan, processor=tiny.processor):
        assert prune.launches(tiny.model).total == 0
    with pytest.raises(RefusedError, match="no plan is active"):
        prune.launches(tiny.model)


@torch.no_grad()
def test_a_layer_that_runs_dense_is_refused(
    tiny: LoadedModel, plan: Plan, samples: list[Sample]
) -> None:
    inputs = read(tiny.processor, samples[:1], 8)
    with prune.apply(tiny.model, plan, processor=tiny.processor, skip="none"):
        tiny.model.set_attn_implementation({"text_config": "sdpa"})
        with pytest.raises(RefusedError, match=r"layers 0, 1, .* ran another"):
            tiny.model(**inputs)
    replay = capture(tiny.model, tiny.processor, inputs)
    with pytest.raises(RefusedError, match="ran another attention"):
        pruned_states(replay, dense_reach(plan.num_layers))


def test_one_silent_layer_is_named() -> None:
    class Nothing:
        def attend(self, layer: int, *tensors: object) -> torch.Tensor:
            return torch.zeros(1)

    counted = CountingEnforcer(Nothing(), Launches([0, 0, 0]))  # type: ignore[arg-type]
    for layer in (0, 2):
        counted.attend(layer, *[torch.zeros(1)] * 3, 1.0)
    with pytest.raises(RefusedError, match="layers 1 ran"):
        counted.check()


@torch.no_grad()
@pytest.mark.parametrize("impl", ["sdpa", "reference"])
def test_the_kernel_that_ran_is_counted(
    tiny: LoadedModel, plan: Plan, samples: list[Sample], impl: Impl
) -> None:
    inputs = read(tiny.processor, samples[:1], 8)
    with prune.apply(tiny.model, plan, processor=tiny.processor, impl=impl):
        tiny.model.generate(**inputs, max_new_tokens=3)
        found = prune.launches(tiny.model)
    assert found.kernels == {impl: found.total}
