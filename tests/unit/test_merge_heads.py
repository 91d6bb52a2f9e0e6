"""The merge of KV heads: exact where one head can hold what its group has, close elsewhere."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, Qwen2Config
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding
from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention

ROOT = Path(__file__).parents[2]
SIZES = {"hidden_size": 64, "num_attention_heads": 4, "attn_implementation": "sdpa"}


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    path = ROOT / "recipes" / "tiny" / "merge_heads.py"
    spec = importlib.util.spec_from_file_location("merge_heads", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["merge_heads"] = module
    spec.loader.exec_module(module)
    return module


def _attend(attention: torch.nn.Module, hidden: Tensor) -> Tensor:
    """Output of a layer's attention, `[1, S, d]`."""
    positions = torch.arange(hidden.shape[1])[None]
    angles = LlamaRotaryEmbedding(LlamaConfig(**SIZES))(hidden, positions)
    return attention(hidden, position_embeddings=angles, attention_mask=None)[0]


def _pair() -> tuple[torch.nn.Module, torch.nn.Module, Tensor]:
    torch.manual_seed(0)
    source = LlamaAttention(LlamaConfig(**SIZES), 0).eval()
    merged = Qwen2Attention(Qwen2Config(num_key_value_heads=2, **SIZES), 0).eval()
    for name, parameter in merged.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    return source, merged, torch.randn(1, 50, 64)


@torch.no_grad()
def test_heads_that_share_their_content_are_merged_exactly(recipe: ModuleType) -> None:
    source, merged, hidden = _pair()
    key = source.k_proj.weight.view(4, 16, 64)
    value = source.v_proj.weight.view(4, 16, 64)
    for one, other in ((0, 2), (1, 3)):
        # The other's keys are the first's, turned and scaled frequency by frequency.
        turned = torch.complex(*key[one].chunk(2)) * torch.randn(8, 1, dtype=torch.complex64)
        key[other] = torch.cat([turned.real, turned.imag])
        value[other] = torch.randn(16, 16) @ value[one]
    recipe.merge_heads(merged, source, hidden[0])
    expected = _attend(source, hidden)
    assert expected.std() > 0.01
    torch.testing.assert_close(_attend(merged, hidden), expected, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_other_heads_lose_less_than_by_their_mean(recipe: ModuleType) -> None:
    source, merged, hidden = _pair()
    expected = _attend(source, hidden)
    merged.q_proj.weight.copy_(source.q_proj.weight)
    merged.o_proj.weight.copy_(source.o_proj.weight)
    for own, theirs in ((merged.k_proj, source.k_proj), (merged.v_proj, source.v_proj)):
        own.weight.copy_(theirs.weight.view(2, 2, 16, 64).mean(1).flatten(0, 1))
    by_mean = (_attend(merged, hidden) - expected).square().mean()
    recipe.merge_heads(merged, source, hidden[0])
    by_components = (_attend(merged, hidden) - expected).square().mean()
    assert by_components < 0.8 * by_mean
