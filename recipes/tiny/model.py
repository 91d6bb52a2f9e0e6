"""The tokenizer and the architectures, built from transformers' own classes."""

import random
from typing import Any

from chat import VICUNA, VICUNA_TEMPLATE
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from prune.tiny.processor import TinyOnevisionProcessor, TinyProcessor
from prune.tiny.questions import TASKS, WORDS, ask, describe, tasks_of
from prune.tiny.scenes import sample_scene

IMAGE_SIZE, PATCH, POOL, FRAMES = 48, 8, 2, 8
FAMILIES = ("llava_next_video", "llava_onevision")
TOKENS_PER_FRAME = (IMAGE_SIZE // PATCH // POOL) ** 2

DESCRIBE = "What happens?"


def build_tokenizer(vocab_size: int = 512) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the benchmark's own prompts and answers."""
    rng = random.Random(0)
    corpus = [VICUNA.prefix.replace("<video>", ""), *WORDS]
    for i in range(3000):
        scene = sample_scene(TASKS[i % len(TASKS)], rng)
        question = ask(rng.choice(tasks_of(scene)), scene, rng)
        corpus += [VICUNA.choice(question.text, question.options(rng)), " " + describe(scene)]
        corpus += [f"{VICUNA.open(DESCRIBE)} {question.answer}"]
    return train_tokenizer(corpus, vocab_size)


def train_tokenizer(corpus: list[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on `corpus`, with the special tokens and the chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=["<pad>", "<s>", "</s>", "<image>", "<video>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="left",
        chat_template=VICUNA_TEMPLATE,
        extra_special_tokens={"image_token": "<image>", "video_token": "<video>"},
    )


def build_model(tokenizer: PreTrainedTokenizerFast, family: str) -> Any:
    """A randomly initialised model of a family: a CLIP tower of 3 layers, a decoder of 12.

    `llava_next_video` is `tiny`, with Llama's decoder; `llava_onevision` is `tiny-ov`, with
    Qwen2's, whose query heads share keys and values in pairs.
    """
    return {"llava_next_video": _llava_next_video, "llava_onevision": _llava_onevision}[family](
        vision_config=CLIPVisionConfig(
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=IMAGE_SIZE,
            patch_size=PATCH,
            projection_dim=128,
        ),
        text={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 352,
            "num_hidden_layers": 12,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[IMAGE_SIZE, IMAGE_SIZE]],
        tie_word_embeddings=False,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast, family: str) -> TinyProcessor:
    """The processor of `build_model`'s model of the same family."""
    kinds = {"llava_next_video": TinyProcessor, "llava_onevision": TinyOnevisionProcessor}
    return kinds[family](tokenizer, IMAGE_SIZE, TOKENS_PER_FRAME)


def _llava_next_video(
    text: dict[str, int], **config: Any
) -> LlavaNextVideoForConditionalGeneration:
    return LlavaNextVideoForConditionalGeneration(
        LlavaNextVideoConfig(
            text_config=LlamaConfig(num_key_value_heads=4, **text),
            spatial_pool_stride=POOL,
            **config,
        )
    )


def _llava_onevision(text: dict[str, int], **config: Any) -> LlavaOnevisionForConditionalGeneration:
    return LlavaOnevisionForConditionalGeneration(
        LlavaOnevisionConfig(text_config=Qwen2Config(num_key_value_heads=2, **text), **config)
    )
