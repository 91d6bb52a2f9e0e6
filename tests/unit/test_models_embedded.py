"""The models in the package: two families, small files, and answers that are right."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from prune.checkpoint.load import EMBEDDED, TINY, LoadedModel, open_model
from prune.errors import BadInputError
from prune.evaluate.answers import answer, prepare, under
from prune.inputs.encode import read
from prune.inputs.samples import Sample, load_samples
from prune.layout.reach import dense_reach
from prune.layout.segments import segment


@pytest.fixture(scope="module", params=EMBEDDED)
def opened(request: pytest.FixtureRequest) -> LoadedModel:
    return open_model(request.param)


def test_two_families_of_which_one_shares_kv_heads() -> None:
    models = {name: open_model(name) for name in EMBEDDED}
    assert {m.id.model_type for m in models.values()} == {"llava_next_video", "llava_onevision"}
    text = models["tiny-ov"].model.config.text_config
    assert text.model_type == "qwen2"
    assert text.num_attention_heads == 2 * text.num_key_value_heads


def test_they_are_small(opened: LoadedModel) -> None:
    assert sum(path.stat().st_size for path in opened.folder.iterdir()) < 13e6


def test_they_answer_right(opened: LoadedModel, clips: Path) -> None:
    samples = load_samples(clips / "test.jsonl")
    batches, failed = prepare(opened.model, opened.processor, samples, 8, 24)
    assert not failed
    dense = under(dense_reach(opened.id.num_layers))
    answers = answer(opened.model, opened.processor, batches, dense)
    right = Counter(a.task for a in answers if a.correct)
    # 4 clips a task; guessing gets 4 of 4 with a chance of 6% at best.
    assert sum(right.values()) >= 0.85 * len(answers)
    assert min(right[task] for task in {a.task for a in answers}) >= 2


def test_every_frame_has_its_tokens(opened: LoadedModel, samples: list[Sample]) -> None:
    inputs = read(opened.processor, samples[:2], 8)
    frame = segment(opened.processor, inputs).frame
    extra = opened.processor.extra_tokens
    for row in frame:
        assert torch.bincount(row[row >= 0]).tolist() == [9] * 7 + [9 + extra]


@pytest.mark.parametrize("damage", ["missing", "reshaped"])
def test_weights_that_transformers_would_draw_at_random(damage: str, tmp_path: Path) -> None:
    """It only warns, and prune shows none of its warnings."""
    folder = tmp_path / "model"
    shutil.copytree(TINY, folder)
    tensors = load_file(folder / "model.safetensors")
    name = "language_model.model.layers.3.mlp.up_proj.weight"
    weight = tensors.pop(name)
    if damage == "reshaped":
        tensors[name] = weight[:-1].contiguous()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInputError, match=r"lack 1 tensors.*layers\.3\.mlp\.up_proj"):
        open_model(folder)
