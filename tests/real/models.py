"""Small random models of the families, each with its real processor and a real vocabulary."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import transformers as hf

from tests.real import templates
from tests.real.vocabularies import fast, qwen, sentencepiece

WIDTH, LAYERS = 64, 5
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
MROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}

QWEN_SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
QWEN_NAMES = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
MEDIA = {"image_token": "<image>", "video_token": "<video>"}

Built = tuple[Any, Any, Any]
"""Model class, its config, and the processor."""


def _text(tokenizer: Any, kind: str | None = None, **more: Any) -> dict[str, Any]:
    config = {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": WIDTH,
        "intermediate_size": 128,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return {**config, **({"model_type": kind} if kind else {}), **more}


def _id(tokenizer: Any, token: str) -> int:
    return tokenizer.convert_tokens_to_ids(token)


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    names = ("image_token", "video_token", "vision_start_token", "vision_end_token")
    tokens = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    return {f"{n}_id": _id(tokenizer, t) for n, t in zip(names, tokens, strict=True)}


def _media_ids(tokenizer: Any, suffix: str = "index") -> dict[str, int]:
    return {f"{kind}_token_{suffix}": _id(tokenizer, f"<{kind}>") for kind in ("image", "video")}


def _qwen2_processor(kind: Any, tokenizer: Any) -> Any:
    sizes = {"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2, **HALF}
    pixels = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    return kind(
        hf.Qwen2VLImageProcessor(**sizes, size=pixels),
        tokenizer,
        hf.Qwen2VLVideoProcessor(**sizes, size=pixels),
        chat_template=tokenizer.chat_template,
    )


def qwen2_vl() -> Built:
    tokenizer = fast(qwen(QWEN_SPECIALS), templates.QWEN2, **QWEN_NAMES)
    config = hf.Qwen2VLConfig(
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": WIDTH, "num_heads": 2},
        text_config=_text(tokenizer, rope_parameters=MROPE),
        tie_word_embeddings=True,
        **_qwen_ids(tokenizer),
    )
    processor = _qwen2_processor(hf.Qwen2VLProcessor, tokenizer)
    return hf.Qwen2VLForConditionalGeneration, config, processor


def qwen2_5_vl() -> Built:
    tokenizer = fast(qwen(QWEN_SPECIALS), templates.QWEN2, **QWEN_NAMES)
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": WIDTH,
        "num_heads": 2, "patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1],
    }  # fmt: skip
    config = hf.Qwen2_5_VLConfig(
        vision_config=vision,
        text_config=_text(tokenizer, rope_parameters=MROPE),
        tie_word_embeddings=True,
        **_qwen_ids(tokenizer),
    )
    processor = _qwen2_processor(hf.Qwen2_5_VLProcessor, tokenizer)
    return hf.Qwen2_5_VLForConditionalGeneration, config, processor


def qwen3_vl() -> Built:
    tokenizer = fast(qwen(QWEN_SPECIALS), templates.QWEN3, **QWEN_NAMES)
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": WIDTH,
        "num_heads": 2, "patch_size": 16, "num_position_embeddings": 256,
        "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    config = hf.Qwen3VLConfig(
        vision_config=vision,
        text_config=_text(
            tokenizer, head_dim=16, rope_parameters={**MROPE, "mrope_interleaved": True}
        ),
        tie_word_embeddings=True,
        **_qwen_ids(tokenizer),
    )
    sizes = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, **HALF}
    processor = hf.Qwen3VLProcessor(
        hf.Qwen2VLImageProcessor(**sizes, size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64}),
        tokenizer,
        hf.Qwen3VLVideoProcessor(
            **sizes, size={"shortest_edge": 2 * 32 * 32, "longest_edge": 8 * 64 * 64}
        ),
        chat_template=tokenizer.chat_template,
    )
    return hf.Qwen3VLForConditionalGeneration, config, processor


def llava_onevision() -> Built:
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
    tokenizer = fast(qwen(specials), templates.ONEVISION, **QWEN_NAMES, extra_special_tokens=MEDIA)
    side = 56
    vision = {
        **VISION, "model_type": "siglip_vision_model", "num_hidden_layers": 2, "image_size": side,
        "patch_size": 14, "vision_use_head": False,
    }  # fmt: skip
    config = hf.LlavaOnevisionConfig(
        vision_config=vision,
        text_config=_text(tokenizer, "qwen2"),
        image_grid_pinpoints=[[side, side], [side, 2 * side]],
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        vision_aspect_ratio="anyres_max_9",
        tie_word_embeddings=True,
        **_media_ids(tokenizer),
    )
    sizes = {**HALF, "size": {"height": side, "width": side}}
    processor = hf.LlavaOnevisionProcessor(
        hf.LlavaOnevisionImageProcessor(**sizes, image_grid_pinpoints=config.image_grid_pinpoints),
        tokenizer,
        hf.LlavaOnevisionVideoProcessor(**sizes),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
    )
    return hf.LlavaOnevisionForConditionalGeneration, config, processor


def _clip(side: int) -> dict[str, Any]:
    return {
        **VISION, "model_type": "clip_vision_model", "num_hidden_layers": 2, "image_size": side,
        "patch_size": 14, "projection_dim": 32,
    }  # fmt: skip


def _llava_tokenizer() -> Any:
    return fast(
        sentencepiece(("<pad>", "<image>", "<video>")),
        templates.LLAVA,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        extra_special_tokens=MEDIA,
    )


def llava_next_video() -> Built:
    tokenizer, side = _llava_tokenizer(), 56
    pinpoints = [[side, 2 * side], [2 * side, side]]
    config = hf.LlavaNextVideoConfig(
        vision_config=_clip(side),
        text_config=_text(tokenizer, "llama"),
        image_grid_pinpoints=pinpoints,
        tie_word_embeddings=True,
        **_media_ids(tokenizer),
    )
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    processor = hf.LlavaNextVideoProcessor(
        video_processor=hf.LlavaNextVideoVideoProcessor(**sizes),
        image_processor=hf.LlavaNextImageProcessor(**sizes, image_grid_pinpoints=pinpoints),
        tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return hf.LlavaNextVideoForConditionalGeneration, config, processor


def llava() -> Built:
    tokenizer, side = _llava_tokenizer(), 56
    config = hf.LlavaConfig(
        vision_config=_clip(side),
        text_config=_text(tokenizer, "llama"),
        image_token_index=_id(tokenizer, "<image>"),
        tie_word_embeddings=True,
    )
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    processor = hf.LlavaProcessor(
        hf.CLIPImageProcessor(**sizes),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    return hf.LlavaForConditionalGeneration, config, processor


def video_llava() -> Built:
    tokenizer, side = _llava_tokenizer(), 56
    config = hf.VideoLlavaConfig(
        vision_config=_clip(side),
        text_config=_text(tokenizer, "llama"),
        tie_word_embeddings=True,
        video_seq_length=4 * 17,
        image_seq_length=16,
        **_media_ids(tokenizer),
    )
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    processor = hf.VideoLlavaProcessor(
        hf.VideoLlavaImageProcessor(**sizes),
        hf.VideoLlavaVideoProcessor(**sizes),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    return hf.VideoLlavaForConditionalGeneration, config, processor


def internvl() -> Built:
    names = {
        "start_image_token": "<img>", "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>",
    }  # fmt: skip
    tokenizer = fast(
        qwen((*QWEN_SPECIALS, *names.values())),
        templates.INTERNVL,
        **QWEN_NAMES,
        extra_special_tokens=names,
    )
    side = 56
    vision = {
        **VISION, "model_type": "internvl_vision", "num_hidden_layers": 2,
        "image_size": [side, side], "patch_size": [14, 14],
        "use_absolute_position_embeddings": True,
    }  # fmt: skip
    config = hf.InternVLConfig(
        vision_config=vision,
        text_config=_text(tokenizer, "qwen2"),
        image_token_id=_id(tokenizer, "<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
        tie_word_embeddings=True,
    )
    sizes = {**HALF, "size": {"height": side, "width": side}}
    processor = hf.InternVLProcessor(
        hf.GotOcr2ImageProcessor(**sizes, crop_to_patches=True, min_patches=1, max_patches=2),
        tokenizer,
        hf.InternVLVideoProcessor(**sizes),
        image_seq_length=4,
        chat_template=tokenizer.chat_template,
    )
    return hf.InternVLForConditionalGeneration, config, processor


def smolvlm() -> Built:
    names = {
        "fake_image_token": "<fake_token_around_image>", "image_token": "<image>",
        "end_of_utterance_token": "<end_of_utterance>", "global_image_token": "<global-img>",
        "video_token": "<video>",
    }  # fmt: skip
    cells = [f"<row_{row}_col_{column}>" for row in range(1, 3) for column in range(1, 3)]
    tokenizer = fast(
        qwen(("<|endoftext|>", "<|im_start|>", "<|im_end|>", *names.values(), *cells)),
        templates.SMOLVLM,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        extra_special_tokens=names,
    )
    side = 64
    config = hf.SmolVLMConfig(
        vision_config={
            **VISION, "model_type": "smolvlm_vision", "num_hidden_layers": 2, "image_size": side,
            "patch_size": 16,
        },
        text_config=_text(tokenizer, "llama"),
        image_token_id=_id(tokenizer, "<image>"),
        scale_factor=2,
        tie_word_embeddings=True,
    )  # fmt: skip
    edge = {"longest_edge": side}
    processor = hf.SmolVLMProcessor(
        hf.SmolVLMImageProcessor(
            **HALF, size={"longest_edge": 2 * side}, max_image_size=edge, do_image_splitting=True
        ),
        tokenizer,
        hf.SmolVLMVideoProcessor(
            **HALF,
            size=edge,
            max_image_size=edge,
            video_sampling={"fps": 1, "max_frames": 64, "video_size": edge},
            fps=1,
            num_frames=64,
        ),
        image_seq_len=4,
        chat_template=tokenizer.chat_template,
    )
    return hf.SmolVLMForConditionalGeneration, config, processor


def video_llama_3() -> Built:
    tokenizer = fast(qwen(QWEN_SPECIALS), templates.VIDEO_LLAMA_3, **QWEN_NAMES)
    config = hf.VideoLlama3Config(
        vision_config={**VISION, "num_hidden_layers": 2, "patch_size": 14},
        text_config=_text(tokenizer, "qwen2"),
        image_token_id=_id(tokenizer, "<|image_pad|>"),
        video_token_id=_id(tokenizer, "<|video_pad|>"),
        tie_word_embeddings=True,
    )
    pixels = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    processor = hf.VideoLlama3Processor(
        hf.VideoLlama3ImageProcessor(size=pixels),
        tokenizer,
        hf.VideoLlama3VideoProcessor(size=pixels, use_token_compression=True),
        chat_template=tokenizer.chat_template,
    )
    return hf.VideoLlama3ForConditionalGeneration, config, processor


def perception_lm() -> Built:
    names = {"image_token": "<|image|>", "video_token": "<|video|>"}
    specials = (
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
        "<|eot_id|>",
    )  # fmt: skip
    tokenizer = fast(
        qwen((*specials, *names.values())),
        templates.PERCEPTION_LM,
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",
        pad_token="<|end_of_text|>",
        extra_special_tokens=names,
    )
    side = 56
    config = hf.PerceptionLMConfig(
        vision_config={
            **VISION, "model_type": "siglip_vision_model", "num_hidden_layers": 2,
            "image_size": side, "patch_size": 14, "embed_dim": 32,
            "model_args": {"embed_dim": 32},
        },
        text_config=_text(tokenizer, "llama"),
        vision_use_cls_token=False,
        projector_pooling_ratio=2,
        image_token_id=_id(tokenizer, "<|image|>"),
        video_token_id=_id(tokenizer, "<|video|>"),
        tie_word_embeddings=True,
    )  # fmt: skip
    processor = hf.PerceptionLMProcessor(
        video_processor=hf.PerceptionLMVideoProcessor(**HALF, size={"height": side, "width": side}),
        image_processor=hf.PerceptionLMImageProcessor(
            **HALF, tile_size=side, max_num_tiles=2, vision_input_type="thumb+tile"
        ),
        tokenizer=tokenizer,
        patch_size=14,
        pooling_ratio=2,
        chat_template=tokenizer.chat_template,
    )
    return hf.PerceptionLMForConditionalGeneration, config, processor


def glm4v() -> Built:
    specials = (
        "<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>",
        "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>",
        "<|image|>", "<|video|>",
    )  # fmt: skip
    tokenizer = fast(
        qwen(specials),
        templates.GLM4V,
        pad_token="<|endoftext|>",
        eos_token="<|endoftext|>",
    )
    ids = {
        f"{name}_id": _id(tokenizer, token)
        for name, token in {
            "image_token": "<|image|>", "video_token": "<|video|>",
            "image_start_token": "<|begin_of_image|>", "image_end_token": "<|end_of_image|>",
            "video_start_token": "<|begin_of_video|>", "video_end_token": "<|end_of_video|>",
        }.items()
    }  # fmt: skip
    config = hf.Glm4vConfig(
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": WIDTH,
            "num_heads": 2, "image_size": 56, "patch_size": 14,
        },
        text_config=_text(
            tokenizer,
            rope_parameters={**MROPE, "mrope_section": [1, 1, 2], "partial_rotary_factor": 0.5},
        ),
        tie_word_embeddings=True,
        **ids,
    )  # fmt: skip
    pixels = {"shortest_edge": 28 * 28, "longest_edge": 8 * 56 * 56}
    processor = hf.Glm4vProcessor(
        hf.Glm4vImageProcessor(size=pixels),
        tokenizer,
        hf.Glm4vVideoProcessor(size=pixels),
        chat_template=tokenizer.chat_template,
    )
    return hf.Glm4vForConditionalGeneration, config, processor


FAMILIES: dict[str, Callable[[], Built]] = {
    make.__name__: make
    for make in (
        qwen2_vl, qwen2_5_vl, qwen3_vl, llava_onevision, llava_next_video, video_llava, internvl,
        smolvlm, video_llama_3, perception_lm, glm4v,
    )
}  # fmt: skip


def _built(name: str) -> Built:
    return llava() if name == "llava" else FAMILIES[name]()


@cache
def processor_of(name: str) -> Any:
    """The real processor of a family."""
    return _built(name)[2]


@cache
def model_of(name: str) -> tuple[Any, Any]:
    """A random float32 model of a family, and its processor."""
    kind, config, processor = _built(name)
    return drawn(kind, config), processor


def drawn(kind: Any, config: Any) -> Any:
    """A random float32 model."""
    torch.manual_seed(0)
    model = kind(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter_name, weight in model.named_parameters():
            if weight.ndim > 1:
                # Wide enough that attention is not uniform, so that a removed edge shows.
                gain = 1.0 if "embed_tokens" in parameter_name else 0.7
                weight.normal_(0, gain * weight[0].numel() ** -0.5, generator=generator)
    return model.to(torch.float32)
