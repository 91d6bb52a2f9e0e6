"""The architecture of `tiny-deep`: twenty thin layers, and the tower of `tiny`."""

import math
import random

import torch
from chat import VICUNA
from facts import fact
from model import IMAGE_SIZE, POOL, train_tokenizer
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from prune.checkpoint.load import open_model
from prune.tiny.descriptions import DESCRIBE, description
from prune.tiny.questions import WORDS
from prune.tiny.task_sets import TASK_SETS, ask_for, scene_for

LAYERS, HIDDEN, INNER, HEADS = 20, 96, 256, 3


def build_tokenizer(vocab_size: int = 576) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the prompts, answers and descriptions of both sets of tasks."""
    rng, tasks = random.Random(0), TASK_SETS["events"]
    corpus = [VICUNA.prefix.replace("<video>", ""), *(f" {word}" for word in WORDS)]
    for i in range(6000):
        task = tasks[i % len(tasks)]
        scene = scene_for(task, "train", rng)
        question = ask_for(task, scene, rng)
        corpus += [VICUNA.choice(question.text, question.options(rng)), f" {question.answer}"]
        _, asked, told = fact(task, scene, rng)
        corpus += [VICUNA.open(asked), f" {told}", VICUNA.open(DESCRIBE), f" {description(scene)}"]
    return train_tokenizer(corpus, vocab_size)


def build_model(
    tokenizer: PreTrainedTokenizerFast, layers: int = LAYERS
) -> LlavaNextVideoForConditionalGeneration:
    """A model with a random decoder and projector, and with `tiny`'s vision tower.

    What a layer adds to the residual stream starts 1 / sqrt(2 L) as large as usual (GPT-2's
    initialisation), so that its variance does not grow with the depth.
    """
    tower = open_model("tiny").model.model.vision_tower
    model = LlavaNextVideoForConditionalGeneration(
        LlavaNextVideoConfig(
            vision_config=CLIPVisionConfig(**tower.config.to_dict()),
            text_config=LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=HIDDEN,
                intermediate_size=INNER,
                num_hidden_layers=layers,
                num_attention_heads=HEADS,
                num_key_value_heads=HEADS,
                max_position_embeddings=512,
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
            ),
            spatial_pool_stride=POOL,
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
            image_grid_pinpoints=[[IMAGE_SIZE, IMAGE_SIZE]],
            tie_word_embeddings=False,
        )
    )
    model.model.vision_tower.load_state_dict(tower.state_dict())
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            layer.self_attn.o_proj.weight /= math.sqrt(2 * layers)
            layer.mlp.down_proj.weight /= math.sqrt(2 * layers)
    return model
