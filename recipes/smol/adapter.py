"""What is learnt: LoRA in every linear layer of the decoder, and the projector."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file

FILE, RANK = "adapter.safetensors", 16
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def inject(model: Any) -> dict[str, torch.nn.Parameter]:
    """Freeze `model`, add the adapter, and return the parameters that learn, by name."""
    model.requires_grad_(False)
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=LINEAR)
    inject_adapter_in_model(config, model.model.language_model)
    model.model.multi_modal_projector.requires_grad_(True)
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def save(learnt: dict[str, torch.nn.Parameter], path: Path) -> None:
    """Write what was learnt in bfloat16, so that a kill leaves the old file or the new one."""
    part = path.with_suffix(".part")
    save_file({name: p.detach().bfloat16().contiguous() for name, p in learnt.items()}, part)
    part.replace(path)


def merge(model: Any, path: Path) -> None:
    """Put an adapter that was saved into the weights of `model`."""
    learnt, held = inject(model), load_file(path)
    if learnt.keys() != held.keys():
        raise SystemExit(f"{path}: not an adapter of this model")
    with torch.no_grad():
        for name, parameter in learnt.items():
            parameter.copy_(held[name])
    for module in [*model.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, LoraLayer):
                child.merge()
                setattr(module, name, child.get_base_layer())
