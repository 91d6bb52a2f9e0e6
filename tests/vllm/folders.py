"""Exports of small random models that vLLM's CPU kernels can run, with their dense twins."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from prune.families import families
from prune.plan.model_id import geometry
from prune.plan.plan import PLAN_FILE, Plan
from prune.plan.presets import Map, preset_reach
from prune.runtime.positions import placed
from prune.workflows.write_export import _copy_model
from tests.real import models
from tests.real.vocabularies import qwen

LAYERS, VOCABULARY = 8, 4096

TEXT = {
    # vLLM's CPU kernels take heads of 32 and more.
    "qwen2_5_vl": {"num_attention_heads": 2, "num_key_value_heads": 1},
    "qwen2_vl": {"num_attention_heads": 2, "num_key_value_heads": 1},
    "qwen3_vl": {"head_dim": 32},
    "llava_onevision": {"num_attention_heads": 2, "num_key_value_heads": 1},
    "llava_next_video": {"head_dim": 32},
    "internvl": {"num_attention_heads": 2, "num_key_value_heads": 1},
}
SIDE = 196
PIXELS = {"shortest_edge": 28 * 28, "longest_edge": 64 * 112 * 140}


def small(name: str, vision: dict[str, Any] | None = None, **sizes: Any) -> tuple[Any, Any]:
    """A random float32 model of a family and its processor.

    Args:
        name: of the family.
        vision: entries of its vision tower's configuration.
        sizes: entries of its text model's.
    """
    # vLLM loads and copies the tokenizer a dozen times at its start.
    with patch.object(models, "qwen", partial(qwen, size=VOCABULARY)):
        kind, config, processor = models.FAMILIES[name]()
    given = config.to_dict()
    text = given["text_config"]
    text |= {"num_hidden_layers": LAYERS, "tie_word_embeddings": False, **TEXT[name]}
    text |= sizes
    given["vision_config"] |= vision or {}
    text.pop("layer_types", None)
    if "mrope_section" in (rope := text["rope_parameters"]):
        head = text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]
        sections = [head // 8, head * 3 // 16, head * 3 // 16]
        text["rope_parameters"] = {**rope, "mrope_section": sections}
    given["tie_word_embeddings"] = False
    if name == "llava_next_video":
        # vLLM divides by the patches of a side, which it counts as side // patch ** 2.
        given["vision_config"]["image_size"] = SIDE
        given["image_grid_pinpoints"] = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE]]
        processor.image_processor.image_grid_pinpoints = given["image_grid_pinpoints"]
        for part in (processor.image_processor, processor.video_processor):
            part.size = {"shortest_edge": SIDE}
            part.crop_size = {"height": SIDE, "width": SIDE}
    if families()[name].bounds_pixels:
        processor.video_processor.size = PIXELS
    return models.drawn(kind, type(config).from_dict(given)), processor


def sealed(model: Any) -> Plan:
    """The sealed preset of LLaVA-NeXT-Video, scaled to the layers of a model."""
    found = geometry(model)
    chosen = Map(found.num_layers, found.num_kv_heads, (2, 4), (2, 5), (4, 6))
    return Plan(preset_reach(chosen), found, "sealed")


def at(plan: Plan, positions: Any) -> Plan:
    """The plan as if it had been measured at these positions."""
    return replace(plan, model=placed(plan.model, positions))


def export(folder: Path, plan: Plan, out: Path) -> None:
    """What `prune export` writes, less its report."""
    out.mkdir()
    _copy_model(folder, out, plan)
    plan.save(out / PLAN_FILE)


def both(name: str, root: Path, positions: Any = None) -> tuple[Any, Any, Plan, Path]:
    """A model, its processor, its plan, and the folder of its export."""
    model, processor = small(name)
    dense = root / "dense"
    model.save_pretrained(dense)
    processor.save_pretrained(dense)
    plan = at(sealed(model), positions)
    export(dense, plan, root / "pruned")
    return model, processor, plan, root / "pruned"
