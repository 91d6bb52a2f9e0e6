from dataclasses import replace

from transformers import Qwen2_5_VLConfig

from tests.families.models.qwen2_vl import SPECIMEN as QWEN2_VL
from tests.families.models.qwen2_vl import config

VISION = {
    "depth": 2,
    "hidden_size": 16,
    "intermediate_size": 24,
    "out_hidden_size": 32,
    "num_heads": 2,
    "patch_size": 4,
    "window_size": 16,
    "fullatt_block_indexes": [1],
}

SPECIMEN = replace(
    QWEN2_VL,
    model="Qwen2_5_VLForConditionalGeneration",
    config=lambda tokenizer: config(Qwen2_5_VLConfig, VISION, tokenizer),
)
