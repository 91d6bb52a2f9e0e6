"""The properties of a model family that prune needs, as data."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np

from prune.errors import BadInputError, RefusedError

FULL_ATTENTION = "full_attention"


@dataclass(frozen=True)
class Medium:
    """A run of tokens that stand for features: of a video, of one of its frames, or of an image.

    Attributes:
        start, stop: its first token in the prompt, and the one behind it.
        video: whether it is video by its token; where images use the same one, it may be an image.
    """

    start: int
    stop: int
    video: bool

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self.stop - self.start


@dataclass(frozen=True)
class Family:
    """One family; a new one overrides only what differs.

    Every family marks the places of its video features with one token. They come in runs: one
    per video, split evenly over its frames, or (`frame_runs`) one per frame, with text between.

    Attributes:
        model_type: `config.model_type` of its models.
        processors: class names of its processors.
        text_model: path from the model to the text model that owns the decoder layers.
        placeholder: the processor's attribute that names the token which video features replace, or
            the token itself.
        frame_runs: whether each run of placeholders is one frame.
        announces: regular expression of the text that the processor writes right before a frame.
        starts: the same before the first frame of a video, where that is another text.
        closes: regular expression of what it writes right behind the last frame.
        images_alike: whether images use the same placeholder and nothing encloses a video: then a
            run is a frame if it is announced, else an image.
        shows_video: whether its models take video; one that does not runs dense under any plan.
        video_bounds: tokens before and after a video, where images use the same placeholder.
        extra_tokens: placeholders at the end of a video that encode none of its frames.
        class_tokens: placeholders at the start of every frame that show no place in it.
        bounds_pixels: whether the `size` of its video processor are bounds on a clip's pixels.
        deepstack: path in the config of the list that has one entry for each of the first decoder
            layers after which the model adds video features, or "".
        other_positions: whether vLLM and transformers give the text behind a long clip different
            positions.
        refusal: why plans cannot be enforced in this family, or "".
    """

    model_type: str
    processors: tuple[str, ...]
    text_model: str = "model.language_model"
    placeholder: str = "video_token"
    frame_runs: bool = False
    announces: str = ""
    starts: str = ""
    closes: str = ""
    images_alike: bool = False
    shows_video: bool = True
    video_bounds: tuple[str, str] | None = None
    extra_tokens: int = 0
    class_tokens: int = 0
    bounds_pixels: bool = False
    deepstack: str = ""
    other_positions: bool = False
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

    def media(self, processor: Any, ids: Sequence[int] | np.ndarray) -> list[Medium]:
        """The runs of a prompt's tokens that stand for video or image features, in order.

        Args:
            processor: the model's.
            ids: tokens of one prompt.

        Raises:
            BadInputError: the tokenizer does not know the family's tokens.
        """
        video = _token_id(processor, getattr(processor, self.placeholder, self.placeholder))
        name = getattr(processor, "image_token", None)
        image = None if name is None else processor.tokenizer.convert_tokens_to_ids(name)
        bounds = [_token_id(processor, token) for token in self.video_bounds or ()]
        found, inside = [], not bounds
        tokens = np.asarray(ids, np.int64)
        for start, stop in _runs_of((video, image, *bounds), tokens):
            token = int(tokens[start])
            if token in bounds:
                inside = token == bounds[0]
            if token in (video, image):
                # Where images use the same token, the text before the run decides.
                is_video = token == video and inside
                found.append(Medium(start, stop, is_video))
        return found

    def frame_counts(self, inputs: Any) -> list[int] | None:
        """Number of frames (temporal units) of every video of a batch, in order.

        Args:
            inputs: with `video_grid_thw` `[V, 3]` (units, height, width), or `pixel_values_videos`
                `[V, T, 3, H, W]`.

        Returns:
            None if the inputs do not contain it, since frames look like images.
        """
        grid, pixels = inputs.get("video_grid_thw"), inputs.get("pixel_values_videos")
        if grid is not None:
            counts: list[int] = grid[:, 0].tolist()
            return counts
        if self.frame_runs:
            return None
        return [] if pixels is None else [pixels.shape[1]] * pixels.shape[0]


def _runs_of(marks: Iterable[int | None], tokens: np.ndarray) -> list[tuple[int, int]]:
    """Where each run of equal tokens of some kinds starts and stops."""
    kinds = np.full(len(tokens) + 2, -1)
    for mark in marks:
        if mark is not None:
            kinds[1:-1][tokens == mark] = mark
    edges = (kinds[1:] != kinds[:-1]).nonzero()[0].tolist()
    return [(start, stop) for start, stop in pairwise(edges) if kinds[start + 1] >= 0]


def _token_id(processor: Any, token: str) -> int:
    tokenizer = processor.tokenizer
    token_id: int | None = tokenizer.convert_tokens_to_ids(token)
    if token_id is None or (token_id == tokenizer.unk_token_id and token != tokenizer.unk_token):
        raise BadInputError(f"the tokenizer has no token {token!r}, which marks video in a prompt")
    return token_id
