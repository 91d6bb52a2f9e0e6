"""Conversations: chat messages about videos and images from a JSON file, as chat clients send them.

The file holds a list of `{"role": "user", "content": [...]}`; `content` is a text, or a list of
`{"type": "text", "text": ...}`, `{"type": "video", "video": PATH}` (a file, a folder or a list of
images) and `{"type": "image", "image": PATH}`. Paths are relative to the file.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from prune.errors import BadInputError, RefusedError
from prune.inputs.chat_template import write_chat
from prune.inputs.encode import pixel_bounds
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.video import load_video
from prune.io.closed import ClosedModel, first_problem
from prune.io.untrusted import read_json

_Name = Annotated[str, Field(min_length=1)]


class _Text(ClosedModel):
    type: Literal["text"]
    text: str


class _Video(ClosedModel):
    type: Literal["video"]
    video: _Name | Annotated[list[_Name], Field(min_length=1)]


class _Image(ClosedModel):
    type: Literal["image"]
    image: _Name


class _Message(ClosedModel):
    role: Literal["system", "user", "assistant"]
    content: str | list[_Text | _Video | _Image]


_MESSAGES = TypeAdapter(Annotated[list[_Message], Field(min_length=1)])


def encode_conversation(
    processor: Any, path: Path, num_frames: int, media: Media = DEFAULT_MEDIA
) -> Any:
    """Model inputs for the conversation in a file, in the processor's own chat template.

    Args:
        processor: the model's.
        path: JSON, see this module.
        num_frames: frames of every video.
        media: how videos are read.

    Returns:
        The processor's `BatchFeature` for a batch of one.

    Raises:
        BadInputError: the file is no conversation, or a video or image cannot be read.
        RefusedError: a path leads out of the file's folder, or the processor cannot write it.
    """
    try:
        messages = _MESSAGES.validate_python(read_json(path, "a conversation"))
    except ValidationError as error:
        raise BadInputError(f"{path}: not a conversation: {first_problem(error)}") from None
    parts = [part for message in messages for part in message.content if not isinstance(part, str)]
    clips = [_clip(path, p.video, num_frames, media) for p in parts if isinstance(p, _Video)]
    images = [_clip(path, p.image, 1, DEFAULT_MEDIA)[0][0] for p in parts if isinstance(p, _Image)]
    given: dict[str, Any] = {"images": [images]} if images else {}
    if clips:
        given["videos"] = [[video for video, _ in clips]]
        given["video_metadata"] = [[metadata for _, metadata in clips]]
        given |= {"do_sample_frames": False, **pixel_bounds(processor, media)}
    try:
        text = write_chat(processor, [_written(message) for message in messages])
        return processor(text=[text], padding=True, return_tensors="pt", **given)
    except Exception as error:  # chat templates and processors fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RefusedError(
            f"{path}: {type(processor).__name__} cannot write this conversation: {reason}"
        ) from None


def _written(message: _Message) -> dict[str, Any]:
    """A message as chat templates read it: media without their paths."""
    if isinstance(message.content, str):
        content = [{"type": "text", "text": message.content}]
    else:
        content = [
            part.model_dump() if isinstance(part, _Text) else {"type": part.type}
            for part in message.content
        ]
    return {"role": message.role, "content": content}


def _clip(path: Path, names: str | list[str], num_frames: int, media: Media) -> Any:
    for name in [names] if isinstance(names, str) else names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise RefusedError(f"{path}: {name!r} must be a path below the file's folder")
    folder = path.parent.resolve()
    files = folder / names if isinstance(names, str) else [folder / name for name in names]
    return load_video(files, num_frames, **media.arguments)
