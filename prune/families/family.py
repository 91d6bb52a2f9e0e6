"""What prune has to know about a model family, as data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from prune.errors import BadInputError, RefusedError

FULL_ATTENTION = "full_attention"


@dataclass(frozen=True)
class Family:
    """One family; a new one overrides only what differs.

    Every family marks the places of its video features with one token. They come in runs: a whole
    video a run, split evenly over its frames, or (`frame_runs`) a frame a run, with text between.

    Attributes:
        model_type: `config.model_type` of its models.
        processors: class names of its processors.
        text_model: path from the model to the text model that owns the decoder layers.
        placeholder: the processor's attribute that names the token which video features replace, or
            the token itself.
        frame_runs: whether each run of placeholders is one frame.
        video_bounds: tokens before and after a video, where images use the same placeholder.
        extra_tokens: placeholders at the end of a video that encode none of its frames.
        class_tokens: placeholders at the start of every frame that show no place in it.
        deepstack: path in the config of the list that has one entry for each of the first decoder
            layers after which the model adds video features, or "".
        refusal: why plans cannot be enforced in this family, or "".
    """

    model_type: str
    processors: tuple[str, ...]
    text_model: str = "model.language_model"
    placeholder: str = "video_token"
    frame_runs: bool = False
    video_bounds: tuple[str, str] | None = None
    extra_tokens: int = 0
    class_tokens: int = 0
    deepstack: str = ""
    refusal: str = ""

    def text_model_of(self, model: Any) -> Any:
        """The module that runs the decoder layers."""
        return model.get_submodule(self.text_model)

    def full_layers(self, config: Any) -> int:
        """Number of first decoder layers that must keep every token."""
        return len(attrgetter(self.deepstack)(config)) if self.deepstack else 0

    def check(self, config: Any) -> None:
        """Refuse a model whose attention no reach table describes.

        Args:
            config: the model's config; its weights are not needed.

        Raises:
            RefusedError: the family is one of those, or the text model has layers other than full
                causal attention.
        """
        if self.refusal:
            raise RefusedError(f"{self.model_type}: {self.refusal}")
        text = config.text_config
        kinds = set(getattr(text, "layer_types", None) or ())
        window = getattr(text, "sliding_window", None)
        # Configs without layer types, such as Mistral's, apply their window in every layer.
        if not kinds and window is not None and window < text.max_position_embeddings:
            kinds = {"sliding_attention"}
        if other := sorted(kinds - {FULL_ATTENTION}):
            raise RefusedError(
                f"{self.model_type}: its text model has {' and '.join(other)} layers; "
                "prune runs models whose decoder layers all have full attention"
            )

    def is_video(self, processor: Any, ids: Sequence[int]) -> list[bool]:
        """Which tokens of a prompt stand for video features.

        Raises:
            BadInputError: the tokenizer does not know the family's tokens.
        """
        placeholder = _token_id(processor, getattr(processor, self.placeholder, self.placeholder))
        if self.video_bounds is None:
            return [token == placeholder for token in ids]
        start, stop = (_token_id(processor, token) for token in self.video_bounds)
        video, inside = [], False
        for token in ids:
            inside = token == start or (inside and token != stop)
            video.append(inside and token == placeholder)
        return video

    def frame_counts(self, inputs: Any) -> list[int]:
        """Number of frames (temporal units) of every video of a batch, in order.

        Args:
            inputs: with `video_grid_thw` `[V, 3]` (units, height, width), or `pixel_values_videos`
                `[V, T, 3, H, W]`.
        """
        grid, pixels = inputs.get("video_grid_thw"), inputs.get("pixel_values_videos")
        if grid is not None:
            return grid[:, 0].tolist()
        return [] if pixels is None else [pixels.shape[1]] * pixels.shape[0]

    def frames(self, video: Sequence[bool], counts: Iterator[int]) -> dict[int, int]:
        """Frame of every video token of a prompt, by position.

        Args:
            video: what `is_video` returned.
            counts: number of frames of the videos to come; takes as many as the prompt has. Not
                read where each run is a frame.

        Returns:
            Frames numbered through the prompt, also over several videos. Extra tokens belong to the
            last frame of their video.

        Raises:
            BadInputError: video tokens without a video, or not evenly many for its frames.
        """
        frame_of: dict[int, int] = {}
        first = 0
        for run in _runs(video):
            count = 1 if self.frame_runs else next(counts, 0)
            if not count:
                raise BadInputError("the prompt has more videos than the inputs hold pixels for")
            tokens = len(run) - self.extra_tokens
            if tokens <= 0 or tokens % count:
                raise BadInputError(
                    f"{tokens} video tokens cannot be split evenly over {count} frames"
                )
            per_frame = tokens // count
            for i, position in enumerate(run):
                frame_of[position] = first + min(i // per_frame, count - 1)
            first += count
        return frame_of


def _token_id(processor: Any, token: str) -> int:
    tokenizer = processor.tokenizer
    token_id = tokenizer.convert_tokens_to_ids(token)
    if token_id is None or (token_id == tokenizer.unk_token_id and token != tokenizer.unk_token):
        raise BadInputError(f"the tokenizer has no token {token!r}, which marks video in a prompt")
    return token_id


def _runs(video: Sequence[bool]) -> list[list[int]]:
    """Positions of each run of video tokens."""
    runs = groupby(range(len(video)), key=lambda position: video[position])
    return [list(positions) for is_video, positions in runs if is_video]
