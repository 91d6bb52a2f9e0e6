"""Models that a plan cannot describe are refused by name, before a weight is read."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from transformers import (
    GptOssConfig,
    InternVLConfig,
    LlavaNextVideoConfig,
    MistralConfig,
    Qwen2_5_VLConfig,
)

import prune
from prune.errors import BadInputError, PruneError, RefusedError
from prune.families import family_of_model_type
from prune.inputs.written import TokenSpans, remember
from prune.layout.segments import Role, segment
from prune.plan.plan import Plan
from prune.runtime.apply import attach
from tests.families.specimen import tiny_of

QWEN_SLIDING = {
    "use_sliding_window": True,
    "sliding_window": 64,
    "max_window_layers": 2,
    "num_hidden_layers": 4,
}
SLIDING = "sliding_attention layers"
REFUSED = [
    (Qwen2_5_VLConfig(text_config=QWEN_SLIDING), SLIDING),
    (InternVLConfig(text_config=GptOssConfig(num_hidden_layers=2)), SLIDING),
    (LlavaNextVideoConfig(text_config=MistralConfig(sliding_window=4096)), SLIDING),
]

if hasattr(transformers, "Molmo2Config"):
    REFUSED.append((transformers.Molmo2Config(), "both directions"))


@pytest.mark.parametrize(("config", "reason"), REFUSED, ids=[c.model_type for c, _ in REFUSED])
def test_attention_that_no_plan_describes(config: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=f"^{config.model_type}: .*{reason}"):
        family_of_model_type(config.model_type).check(config)
    with pytest.raises(RefusedError, match=reason):
        attach(SimpleNamespace(config=config), Plan.preset("llava-next-7b"), processor=None)
    config.save_pretrained(tmp_path)
    with pytest.raises(RefusedError, match=reason):
        prune.load(tmp_path)  # there are no weights in the folder, and none are looked for


def test_linear_attention_is_named() -> None:
    config = InternVLConfig()
    config.text_config.layer_types = ["linear_attention", "full_attention", "sliding_attention"]
    with pytest.raises(RefusedError, match="linear_attention and sliding_attention layers"):
        family_of_model_type("internvl").check(config)


def test_a_window_wider_than_the_context_is_none() -> None:
    text = MistralConfig(sliding_window=32768, max_position_embeddings=32768)
    family_of_model_type("llava_next_video").check(LlavaNextVideoConfig(text_config=text))


@pytest.mark.parametrize(
    ("config", "error", "line"),
    [
        ({"model_type": "llama"}, BadInputError, "unsupported model type 'llama'"),
        (
            {"model_type": "internvl", "text_config": "big"},
            BadInputError,
            "not a configuration of internvl",
        ),
    ],
)
def test_before_the_weights(
    config: dict, error: type[PruneError], line: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(error, match=line) as caught:
        prune.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_videos_and_their_places_must_agree() -> None:
    tiny = tiny_of("llava_next_video")
    surplus = tiny.inputs(("USER: ", 2, " and ", 2, " Who?"))
    surplus["pixel_values_videos"] = surplus["pixel_values_videos"][:1].repeat(3, 1, 1, 1, 1)
    with pytest.raises(BadInputError, match="inputs hold more videos than the prompts have"):
        segment(tiny.processor, surplus)
    missing = tiny.inputs(("USER: ", 2, " and ", 2, " Who?"))
    missing["pixel_values_videos"] = missing["pixel_values_videos"][:1]
    with pytest.raises(BadInputError, match="more videos than the inputs hold pixels for"):
        segment(tiny.processor, missing)


def test_a_tokenizer_without_the_family_s_tokens() -> None:
    tiny = tiny_of("llava_onevision")
    processor = type("Qwen3VLProcessor", (), {})()
    processor.tokenizer, processor.video_token = tiny.processor.tokenizer, "<|video_pad|>"
    with pytest.raises(BadInputError, match=r"no token '<\|video_pad\|>'"):
        segment(processor, tiny.inputs(("Who?",)))


def test_images_of_glm_are_not_video() -> None:
    tiny = tiny_of("glm4v")
    image = "<|begin_of_image|><|image|><|image|><|end_of_image|>"
    alone = segment(tiny.processor, tiny.inputs((image, " Who?")))
    assert alone.frame.max() == -1
    both = segment(tiny.processor, tiny.inputs(("USER: ", image, 2, image, " Who?")))
    assert (both.frame[0, both.role[0] == Role.VIDEO] == 0).sum() == 4
    assert (both.role == Role.IMAGE).sum() == 4


def test_images_that_were_written_in_place_of_a_video_are_its_frames() -> None:
    tiny = tiny_of("glm4v")
    image = "<|begin_of_image|><|image|><|image|><|end_of_image|>"
    inputs = tiny.inputs(("USER: ", image, image, " Who? A"))
    ids = inputs["input_ids"][0].tolist()
    remember(ids, TokenSpans((-3, -1), (), images=2))
    found = segment(tiny.processor, inputs)
    assert found.frame[found.role == Role.VIDEO].tolist() == [0, 0, 1, 1]
    assert found.frame[found.role == Role.TIMESTAMP].tolist() == [1] * found.count(Role.TIMESTAMP)
    assert found.role[0, -3:].tolist() == [Role.QUESTION, Role.QUESTION, Role.LAST]
    for wrong in (TokenSpans((-3, -1), (), images=3), TokenSpans((-3, -1), (), 4, alike=False)):
        remember(ids, wrong)
        with pytest.raises(BadInputError, match=r"2 runs of image tokens .* over [34] images"):
            segment(tiny.processor, inputs)
