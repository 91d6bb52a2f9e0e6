"""What prune has to know about a model family, as data."""

from dataclasses import dataclass
from typing import Any

from prune.errors import BadInputError


@dataclass(frozen=True)
class Family:
    """One family; a new one overrides only what differs.

    Attributes:
        model_type: `config.model_type` of its models.
        processors: class names of its processors.
        text_model: path from the model to the text model that owns the decoder layers.
        extra_tokens: video tokens after the last frame that belong to none.
    """

    model_type: str
    processors: tuple[str, ...]
    text_model: str = "model.language_model"
    extra_tokens: int = 0

    def text_model_of(self, model: Any) -> Any:
        """The module that runs the decoder layers."""
        return model.get_submodule(self.text_model)

    def video_token_id(self, processor: Any) -> int:
        """Id of the placeholder that video features replace."""
        return processor.tokenizer.convert_tokens_to_ids(processor.video_token)

    def num_frames(self, inputs: Any, row: int) -> int:
        """Frames (temporal units) of the video in a batch row; one video per row."""
        pixels = inputs.get("pixel_values_videos")
        if pixels is None:
            raise BadInputError("the prompt has video tokens but no pixel_values_videos")
        return pixels.shape[1]

    def frames(self, video: list[bool], num_frames: int) -> dict[int, int]:
        """Frame of every video token, by position; the video is one run of equal frames.

        Raises:
            BadInputError: the tokens cannot be split evenly over `num_frames`.
        """
        positions = [i for i, is_video in enumerate(video) if is_video]
        tokens = len(positions) - self.extra_tokens
        if num_frames <= 0 or tokens % num_frames:
            raise BadInputError(
                f"{tokens} video tokens cannot be split evenly over {num_frames} frames"
            )
        per_frame = tokens // num_frames
        return {position: i // per_frame for i, position in enumerate(positions[:tokens])}
