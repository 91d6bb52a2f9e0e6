"""A plan composes with what else is done to a model: adapters, and quantised weights."""

import copy
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import BatchFeature, BitsAndBytesConfig

import prune
from prune.checkpoint.load import TINY, LoadedModel, open_model
from prune.errors import BadInputError, NumericError, RefusedError
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from tests.unit.test_apply import masked_logits, mixed_plan


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of random weights on attention and MLP."""
    torch.manual_seed(0)
    targets = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=4, target_modules=targets, init_lora_weights=False)
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(open_model("tiny").model, config).save_pretrained(folder)
    return folder


@pytest.fixture
def inputs(tiny: LoadedModel, samples: list[Sample]) -> BatchFeature:
    return read(tiny.processor, samples[:3], 8)


@pytest.fixture(params=["PeftModel", "load_adapter", "merged"])
def adapted(request: pytest.FixtureRequest, tiny: LoadedModel, adapter: Path) -> Iterator[Any]:
    """`tiny` under a plan, with an adapter put on afterwards."""
    model = open_model("tiny").model
    with prune.apply(model, mixed_plan(tiny), processor=tiny.processor, skip="all"):
        if request.param == "load_adapter":
            model.load_adapter(str(adapter))
            yield model
            return
        wrapped = PeftModel.from_pretrained(model, str(adapter))
        yield wrapped.merge_and_unload() if request.param == "merged" else wrapped


@torch.no_grad()
def test_an_adapter_goes_on_top_of_a_plan(
    adapted: Any, adapter: Path, tiny: LoadedModel, inputs: BatchFeature
) -> None:
    merged = PeftModel.from_pretrained(open_model("tiny").model, str(adapter)).merge_and_unload()
    expected = masked_logits(replace(tiny, model=merged), mixed_plan(tiny), inputs)
    found = adapted(**inputs).logits[:, -1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (found - masked_logits(tiny, mixed_plan(tiny), inputs)).abs().max() > 0.5
    ran = prune.launches(adapted)
    assert min(ran.calls) == 1 and ran.computed < ran.states
    token = adapted.generate(**inputs, max_new_tokens=1, do_sample=False)[:, -1]
    assert torch.equal(token, expected.argmax(-1))


@torch.no_grad()
def test_a_plan_goes_on_top_of_an_adapter_and_off_again(
    adapter: Path, tiny: LoadedModel, inputs: BatchFeature
) -> None:
    adapted = PeftModel.from_pretrained(open_model("tiny").model, str(adapter))
    dense = adapted(**inputs).logits
    base = replace(tiny, model=adapted.get_base_model())
    with prune.apply(adapted, mixed_plan(tiny), processor=tiny.processor):
        pruned = adapted(**inputs).logits[:, -1]
    assert torch.equal(adapted(**inputs).logits, dense)
    expected = masked_logits(base, mixed_plan(tiny), inputs)
    torch.testing.assert_close(pruned, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("config", [PromptTuningConfig, PrefixTuningConfig])
def test_adapters_that_add_tokens_are_refused(
    config: Any, tiny: LoadedModel, inputs: BatchFeature
) -> None:
    wrapped = get_peft_model(
        open_model("tiny").model, config(task_type="CAUSAL_LM", num_virtual_tokens=2)
    )
    with (
        prune.apply(wrapped, mixed_plan(tiny), processor=tiny.processor),
        pytest.raises(RefusedError, match=r"input_ids|cache was filled"),
    ):
        wrapped(**inputs)


def test_an_adapters_folder_is_not_mistaken_for_a_model(adapter: Path, tmp_path: Path) -> None:
    """Transformers would load the model that the adapter names, not the folder's."""
    both = tmp_path / "both"
    shutil.copytree(TINY, both)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (both / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(RefusedError, match="load_adapter"):
        open_model(both)
    with pytest.raises(BadInputError, match=r"no config\.json"):
        open_model(adapter)


@torch.no_grad()
def check_quantised(
    opened: LoadedModel, tiny: LoadedModel, inputs: BatchFeature, atol: float
) -> None:
    """Pruned, with and without dead states, is the same quantised model under explicit masks."""
    plan = mixed_plan(tiny)
    expected = masked_logits(opened, plan, inputs)
    for skip in ("all", "none"):
        with prune.apply(opened.model, plan, processor=tiny.processor, skip=skip):
            found = opened.model(**inputs).logits[:, -1]
            ran = prune.launches(opened.model)
        torch.testing.assert_close(found, expected, atol=atol, rtol=1e-4)
        assert (ran.computed < ran.states) == (skip == "all")
    assert (expected - masked_logits(tiny, plan, inputs)).abs().max() > 1e-3, "it is quantised"


def test_torchao_weights(tiny: LoadedModel, inputs: BatchFeature, tmp_path: Path) -> None:
    quantization = pytest.importorskip("torchao.quantization", reason="needs torchao")
    from transformers import TorchAoConfig

    config = TorchAoConfig(quantization.Int8WeightOnlyConfig())
    opened = open_model("tiny", quantization_config=config)
    check_quantised(opened, tiny, inputs, 1e-4)
    stored = tmp_path / "stored"
    opened.model.save_pretrained(stored)
    tiny.processor.save_pretrained(stored)
    again = open_model(stored)
    assert again.id.sha256 not in (None, tiny.id.sha256)
    check_quantised(again, tiny, inputs, 1e-4)
    assert torch.equal(again.model(**inputs).logits, opened.model(**inputs).logits)
    broken = copy.deepcopy(tiny.model)
    broken.get_decoder().layers[0].mlp.up_proj.weight.data[0, 0] = float("nan")
    broken.save_pretrained(stored.with_name("broken"))
    tiny.processor.save_pretrained(stored.with_name("broken"))
    with pytest.raises(NumericError, match=r"layers\.0\.mlp\.up_proj"):
        open_model(stored.with_name("broken"), quantization_config=config)


def test_bitsandbytes_weights(tiny: LoadedModel, inputs: BatchFeature) -> None:
    pytest.importorskip("bitsandbytes")
    # Its blocks of 64 do not fit down_proj, whose rows have 352 weights.
    skipped = ["down_proj", "lm_head", "vision_tower", "multi_modal_projector"]
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=skipped,
    )
    # On a CPU it rounds to bfloat16 inside, differently for other numbers of rows.
    check_quantised(open_model("tiny", quantization_config=config), tiny, inputs, 0.05)


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="it is installed")
def test_a_missing_package_is_named() -> None:
    with pytest.raises(BadInputError, match="bitsandbytes"):
        open_model("tiny", quantization_config=BitsAndBytesConfig(load_in_8bit=True))
