"""Chat templates that write what the families' own templates write, shortened to what is tested."""

MEDIA = (
    "{%- macro media(part) -%}"
    "{%- if part['type'] == 'video' -%}VIDEO{%- elif part['type'] == 'image' -%}IMAGE{%- endif -%}"
    "{%- endmacro -%}"
)


def _template(body: str, video: str, image: str) -> str:
    return MEDIA.replace("VIDEO", video).replace("IMAGE", image) + body


def _parts(text: str = "{{ part['text'] }}") -> str:
    """Media and text of a message in the order in which the user gave them."""
    return (
        "{%- if message['content'] is string -%}{%- set part = {'text': message['content']} -%}"
        + text
        + "{%- else -%}{%- for part in message['content'] -%}"
        "{%- if part['type'] == 'text' -%}"
        + text
        + "{%- else -%}{{ media(part) }}{%- endif -%}{%- endfor -%}{%- endif -%}"
    )


def _media_first(text: str) -> str:
    """All images, then all videos, then all text, whatever the user's order was."""
    kinds = "".join(
        "{%- for part in message['content'] if part['type'] == '" + kind + "' -%}"
        "{{ media(part) }}{%- endfor -%}"
        for kind in ("image", "video")
    )
    return (
        kinds
        + "{%- for part in message['content'] if part['type'] == 'text' -%}"
        + text
        + "{%- endfor -%}"
    )


def chatml(video: str, image: str, system: str = "", first: str = "") -> str:
    """`<|im_start|>role`, with a default system turn where the family writes one.

    Args:
        video, image: what stands for media.
        system: of the default system turn.
        first: written after the role's name in place of a newline, with media first.
    """
    default = (
        "{%- if messages[0]['role'] != 'system' -%}"
        f"<|im_start|>system{{{{ '\\n' }}}}{system}<|im_end|>{{{{ '\\n' }}}}{{%- endif -%}}"
    )
    content = _media_first("{{ '\\n' + part['text'] }}") if first else _parts()
    end = "<|im_end|>" if first else "<|im_end|>{{ '\\n' }}"
    opened = f"{{{{ '{first}' }}}}" if first else "{{ '\\n' }}"
    body = (
        (default if system else "")
        + "{%- for message in messages -%}<|im_start|>{{ message['role'] }}"
        + opened
        + content
        + end
        + "{%- endfor -%}"
        "{%- if add_generation_prompt -%}<|im_start|>assistant{{ '\\n' }}{%- endif -%}"
    )
    return _template(body, video, image)


VISION = (
    "<|vision_start|><|video_pad|><|vision_end|>",
    "<|vision_start|><|image_pad|><|vision_end|>",
)

QWEN2 = chatml(*VISION, system="You are a helpful assistant.")
QWEN3 = chatml(*VISION)
VIDEO_LLAMA_3 = chatml("<|video_pad|>{{ '\\n' }}", "<|image_pad|>{{ '\\n' }}")
INTERNVL = chatml("<video>{{ '\\n' }}", "<IMG_CONTEXT>{{ '\\n' }}")
ONEVISION = chatml("<video>", "<image>", first=" ")

LLAVA = _template(
    "{%- for message in messages -%}"
    "{%- if message['role'] != 'system' -%}{{ message['role'].upper() + ': ' }}{%- endif -%}"
    + _media_first("{{ part['text'] + ' ' }}")
    + "{%- endfor -%}{%- if add_generation_prompt -%}ASSISTANT:{%- endif -%}",
    "{{ '<video>\\n' }}",
    "{{ '<image>\\n' }}",
)

SMOLVLM = _template(
    "<|im_start|>{%- for message in messages -%}{{ message['role'].capitalize() }}"
    "{{ ':' if message['content'][0]['type'] == 'image' else ': ' }}"
    + _parts()
    + "<end_of_utterance>{{ '\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}Assistant:{%- endif -%}",
    "<video>",
    "<image>",
)

PERCEPTION_LM = _template(
    "{{ bos_token }}{%- for message in messages -%}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>{{ '\\n\\n' }}"
    + _media_first("{{ part['text'].strip() }}")
    + "<|eot_id|>{%- endfor -%}{%- if add_generation_prompt -%}"
    "<|start_header_id|>assistant<|end_header_id|>{{ '\\n\\n' }}{%- endif -%}",
    "<|video|>",
    "<|image|>",
)

GLM4V = _template(
    "[gMASK]<sop>{%- for message in messages -%}{{ '\\n' }}<|{{ message['role'] }}|>{{ '\\n' }}"
    + _parts()
    + "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '\\n' }}<|assistant|>{{ '\\n' }}{%- endif -%}",
    "<|begin_of_video|><|video|><|end_of_video|>",
    "<|begin_of_image|><|image|><|end_of_image|>",
)
