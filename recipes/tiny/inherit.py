"""Start a model from a trained one of the same sizes, of its own or of another family."""

from typing import Any

import torch
from batches import Packer, Slots
from forward import logits_of
from merge_heads import merge_heads
from torch import Tensor

from prune.checkpoint.load import LoadedModel
from prune.layout.reach import dense_reach

CLIPS = 12
SLOTS = (Slots("choice", 5, 54), Slots("existence", 3, 16), Slots("open", 2, 22))


@torch.no_grad()
def inherit(model: Any, source: LoadedModel) -> None:
    """Copy the weights of `source` into `model`, in place.

    Where `model` has fewer KV heads, those of `source` are merged (`merge_heads.py`). Biases that
    `source` lacks start at zero.
    """
    given, text = source.model.state_dict(), model.config.text_config
    merges = text.num_key_value_heads < source.id.num_kv_heads
    replaced = ("q_proj", "k_proj", "v_proj", "o_proj") if merges else ()
    for name, own in model.state_dict().items():
        # In the vision tower such names are of plain multi-head attention.
        if "language_model" in name and name.split(".")[-2] in replaced and "weight" in name:
            continue
        own.copy_(given.get(name, torch.zeros_like(own)))
    if not merges:
        return
    layers = model.model.language_model.layers
    trained = source.model.model.language_model.layers
    hidden = _attention_inputs(source)
    for own, theirs, states in zip(layers, trained, hidden, strict=True):
        merge_heads(own.self_attn, theirs.self_attn, states)


def _attention_inputs(source: LoadedModel) -> list[Tensor]:
    """What every decoder layer's attention reads in clips of the training split, `[N, d]` each."""
    packer = Packer(source.processor.tokenizer, "train", 5, source.processor.extra_tokens)
    batch = packer.batch(CLIPS, SLOTS)
    real = batch.roles >= 0
    caught: list[Tensor] = []

    def catch(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caught.append(kwargs["hidden_states"][real])

    layers = source.model.model.language_model.layers
    handles = [
        layer.self_attn.register_forward_pre_hook(catch, with_kwargs=True) for layer in layers
    ]
    source.model.set_attn_implementation({"text_config": "packed"})
    logits_of(source.model, batch, dense_reach(len(layers)))
    for handle in handles:
        handle.remove()
    return caught
