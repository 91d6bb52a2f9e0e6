"""A model under a plan is copied whole, not pickled, and has one plan at a time."""

import pickle
from copy import deepcopy
from pathlib import Path

import pytest
import torch

import prune
from prune.errors import RefusedError
from prune.plan.model_id import geometry
from prune.plan.plan import Plan
from tests.families.specimen import Tiny
from tests.runtime.conversation import ONE, layers_of, narrow_plan


@torch.no_grad()
def test_a_deep_copy_is_a_model_of_its_own(random_tiny: Tiny) -> None:
    model, inputs = random_tiny.model, random_tiny.inputs(ONE)
    dense = model(**inputs).logits[:, -1]
    with prune.apply(model, narrow_plan(model), processor=random_tiny.processor, skip="all"):
        right = model(**inputs).logits[:, -1]
        tokens = model.generate(**inputs, max_new_tokens=4, do_sample=False)
        twin = deepcopy(model)
        before = prune.launches(model).total
        assert torch.equal(twin(**inputs).logits[:, -1], right)
        assert torch.equal(twin.generate(**inputs, max_new_tokens=4, do_sample=False), tokens)
        assert prune.launches(model).total == before
        assert prune.launches(twin).total == 5 * len(layers_of(random_tiny))
        # Other weights change the copy alone, in every module that a plan touches.
        for name, weight in twin.named_parameters():
            if any(part in name for part in ("q_proj", "o_proj", "mlp")):
                weight.mul_(1.5)
        changed = twin(**inputs).logits[:, -1]
        assert not torch.allclose(changed, right, atol=1e-3)
        assert torch.equal(model(**inputs).logits[:, -1], right)
    # The original is dense again, the copy stays under its plan.
    assert torch.equal(model(**inputs).logits[:, -1], dense)
    assert torch.equal(twin(**inputs).logits[:, -1], changed)


def test_a_deep_copy_of_a_dense_model_is_dense(random_tiny: Tiny) -> None:
    with prune.apply(
        random_tiny.model, narrow_plan(random_tiny.model), processor=random_tiny.processor
    ):
        pass
    with pytest.raises(RefusedError, match="no plan is active"):
        prune.launches(deepcopy(random_tiny.model))


def test_pickling_is_refused_in_one_line(random_tiny: Tiny, tmp_path: Path) -> None:
    model = random_tiny.model
    with prune.apply(model, narrow_plan(model), processor=random_tiny.processor):
        for dump in (pickle.dumps, lambda m: torch.save(m, tmp_path / "model.pt")):
            with pytest.raises(RefusedError, match=r"^.*cannot be pickled: .*save_pretrained"):
                dump(model)


@torch.no_grad()
def test_a_second_plan_is_refused_and_the_first_stays(random_tiny: Tiny) -> None:
    model, inputs = random_tiny.model, random_tiny.inputs(ONE)
    dense, other = model(**inputs).logits, Plan.dense(geometry(model))
    with prune.apply(model, narrow_plan(model), processor=random_tiny.processor):
        right = model(**inputs).logits[:, -1]
        with (
            pytest.raises(RefusedError, match="already active on this model"),
            prune.apply(model, other, processor=random_tiny.processor),
        ):
            pass
        assert torch.equal(model(**inputs).logits[:, -1], right)
    assert torch.equal(model(**inputs).logits, dense)
