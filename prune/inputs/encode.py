"""Model inputs from samples: prompt text, decoded clips, and the processor's tensors."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.errors import BadInputError, RefusedError
from prune.families import family_of_processor
from prune.inputs.chat_format import chat_format, reply_message
from prune.inputs.chat_template import write_chat
from prune.inputs.media import Media
from prune.inputs.prompts import Question, choice_question, open_question
from prune.inputs.sample import Medium, Sample, Turn
from prune.inputs.templates import templated_question
from prune.inputs.video import load_video
from prune.inputs.written import TokenSpans, remember

Write = Callable[[Any, Sample], Question]
"""Writes a sample's prompt in a processor's chat template, with its spans."""


def question_of(sample: Sample) -> Question:
    """What the user of a sample says, without its chat template and its cue."""
    if sample.is_open:
        return open_question(sample.question)
    options, wording = list(sample.options), sample.wording
    if wording.prompt:
        return templated_question(wording.prompt, sample.question, options)
    return choice_question(sample.question, options, wording.instruction)


def choice_prompt(processor: Any, sample: Sample) -> Question:
    """The sample with its options and the cue of its answer; the next token is a letter."""
    return _prompt(processor, sample, question_of(sample), sample.cue)


def open_prompt(processor: Any, sample: Sample) -> Question:
    """The sample's question without its options; the model replies in its own words."""
    return _prompt(processor, sample, open_question(sample.question))


def prompt_of(processor: Any, sample: Sample) -> Question:
    """`choice_prompt`, or `open_prompt` of a question without options."""
    return (open_prompt if sample.is_open else choice_prompt)(processor, sample)


def _prompt(processor: Any, sample: Sample, question: Question, cue: str = "") -> Question:
    images = len(sample.files) if sample.medium == "image" else 0
    text = chat(processor, question.text, images, sample.wording.system, sample.turns)
    found = question.within(text + cue)
    if found is None:
        raise BadInputError(
            f"the chat template of {type(processor).__name__} changes the text of the question "
            f"{question.text[:60]!r}: its tokens cannot be told from the rest"
        )
    if not sample.turns:
        return found
    form = chat_format(processor)
    assert form is not None, "chat has written it"
    return replace(found, turn=text.rfind(form.user, 0, found.question[0]))


def chat(
    processor: Any, text: str, images: int = 0, system: str = "", turns: Sequence[Turn] = ()
) -> str:
    """What a user says about one video, or about some images, in the model's chat template.

    Args:
        processor: the model's.
        text: what is said.
        images: how many images are shown in place of a video.
        system: the system prompt; the template's own if empty.
        turns: earlier ones; media are shown in the first of all turns.

    Raises:
        RefusedError: the template drops the system prompt, or cannot write earlier turns.
    """
    media = [{"type": "image"}] * images or [{"type": "video"}]
    asked = [*(user for user, _ in turns), text]
    messages: list[dict[str, Any]] = []
    for index, said in enumerate(asked):
        shown = [] if index else media
        messages.append({"role": "user", "content": [*shown, {"type": "text", "text": said}]})
        if index < len(turns):
            messages.append(reply_message(processor, turns[index][1]))
    if system:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
    written = write_chat(processor, messages)
    if system.strip() not in written:
        raise RefusedError(
            f"the chat template of {type(processor).__name__} drops the system prompt: leave out "
            "--system, or the system of the recipe"
        )
    return written


def continuation(tokenizer: Any, before: str, text: str) -> list[int]:
    """The tokens that `text` adds to those of a prompt that ends with `before`.

    They may be others than those of the text alone: in byte-level vocabularies `(A` is one token,
    and after `:(` so is `A`.

    Raises:
        RefusedError: the text changes the tokens before it.
    """
    known = tokenizer.encode(before, add_special_tokens=False)
    both = tokenizer.encode(before + text, add_special_tokens=False)
    if both[: len(known)] != known:
        pieces = " ".join(tokenizer.convert_ids_to_tokens(both[-3:]))
        raise RefusedError(
            f"{type(tokenizer).__name__}: {text!r} after {before[-20:]!r} joins the token before it"
            f" ({pieces}): end the prompt another way, such as with --cue 'Answer: ('"
        )
    return list(both[len(known) :])


_letters: WeakKeyDictionary[Any, dict[tuple[str, tuple[str, ...]], list[int]]] = WeakKeyDictionary()


def letter_ids(processor: Any, sample: Sample) -> list[int]:
    """The token that says each option's letter right after the sample's cue.

    Raises:
        RefusedError: after the cue a letter is not one new token, or two letters are the same.
    """
    tokenizer, letters = processor.tokenizer, sample.letters
    known = _letters.setdefault(tokenizer, {})
    key = (sample.cue, tuple(letters))
    if key not in known:
        end = chat(processor, "?") + sample.cue
        found = [continuation(tokenizer, end, letter) for letter in letters]
        if any(len(ids) != 1 for ids in found) or len({ids[0] for ids in found}) < len(found):
            pieces = [" ".join(tokenizer.convert_ids_to_tokens(ids)) for ids in found]
            raise RefusedError(
                f"{type(tokenizer).__name__}: after the cue {sample.cue!r} the letters are not one "
                f"token each ({', '.join(pieces)}): give another --cue, such as 'Answer: ('"
            )
        known[key] = [ids[0] for ids in found]
    return known[key]


def check_samples(processor: Any, samples: Sequence[Sample], letters: bool = True) -> None:
    """Check that a processor can encode samples, before a run begins to write.

    Args:
        processor: the model's.
        samples: of the run.
        letters: whether the letters of options are scored.

    Raises:
        RefusedError: the processor takes no images or bounds no pixels, or, as in `letter_ids`, a
            letter is not one new token.
    """
    if any(sample.turns for sample in samples):
        reply_message(processor, "")
    for medium, reading in {(sample.medium, sample.reading) for sample in samples}:
        if medium == "image" and getattr(processor, "image_processor", None) is None:
            raise RefusedError(
                f"{type(processor).__name__} takes no images, and the data has some: name them "
                "as the frames of a video, or choose another model"
            )
        pixel_bounds(processor, reading, medium)
    if letters:
        for sample in {(s.cue, len(s.options)): s for s in samples if s.options}.values():
            letter_ids(processor, sample)


def pixel_bounds(processor: Any, reading: Media, medium: Medium = "video") -> dict[str, Any]:
    """The argument by which a processor bounds the pixels of a clip; {} where nothing is said."""
    low, high = reading.min_pixels, reading.max_pixels
    if low is None and high is None:
        return {}
    kind = type(processor).__name__
    if not family_of_processor(processor).bounds_pixels:
        raise RefusedError(
            f"{kind}: takes no min_pixels or max_pixels (--min-pixels, --max-pixels, or in the "
            "data): its frames have one size"
        )
    own = getattr(processor, f"{medium}_processor").size
    low, high = low or own["shortest_edge"], high or own["longest_edge"]
    if low > high:
        raise RefusedError(f"{kind}: min_pixels {low} is over max_pixels {high}: give both")
    return {"size": {"shortest_edge": low, "longest_edge": high}}


Clip = tuple[NDArray[np.uint8], dict[str, Any]]
"""Frames `[T, H, W, 3]` and metadata, as `load_video` returns them. Images of several sizes are an
array `[T]` of objects, and have no metadata."""


def decode(sample: Sample, num_frames: int) -> Clip:
    """Decode the sample's clip, or its images, once each.

    Raises:
        BadInputError: that cannot be done.
    """
    if sample.medium == "image":
        return _stacked([load_video(file, 1)[0][0] for file in sample.files]), {}
    bounds = sample.start, sample.end
    return load_video(sample.video, num_frames, *bounds, **sample.reading.arguments)


def _stacked(images: list[NDArray[np.uint8]]) -> NDArray[Any]:
    if len({image.shape for image in images}) == 1:
        return np.stack(images)
    alone = np.empty(len(images), object)
    alone[:] = images
    return alone


def shape_of(sample: Sample, clip: Clip) -> tuple[Medium, int, Media]:
    """What clips must share to be in one batch: what they are, how many frames, how read."""
    reading = replace(sample.reading, sampling=None, fps=None, frame_rate=None)
    return sample.medium, len(clip[0]), reading


def encode(
    processor: Any,
    samples: Sequence[Sample],
    clips: Sequence[Clip],
    write: Write = prompt_of,
) -> Any:
    """Model inputs for a batch of prompts, padded on the left; its clips have the same `shape_of`.

    Which tokens are question and options is remembered for `prune.layout.segments.segment`.
    """
    prompts = [write(processor, sample) for sample in samples]
    medium = samples[0].medium
    inputs = processor(
        text=[prompt.text for prompt in prompts],
        **(_images(clips) if medium == "image" else _videos(clips)),
        padding=True,
        return_tensors="pt",
        return_offsets_mapping=True,
        **pixel_bounds(processor, samples[0].reading, medium),
    )
    places = inputs.pop("offset_mapping")
    for row, prompt in enumerate(prompts):
        real = inputs["attention_mask"][row].bool()
        ids = inputs["input_ids"][row, real].tolist()
        spans = _token_spans(prompt, places[row, real].tolist())
        if medium == "image":
            shown = clips[row][0]
            spans = replace(spans, images=len(shown), alike=shown.dtype != object)
        remember(ids, spans)
    return inputs


def _videos(clips: Sequence[Clip]) -> dict[str, Any]:
    return {
        "videos": [[video] for video, _ in clips],
        "video_metadata": [[metadata] for _, metadata in clips],
        "do_sample_frames": False,
    }


def _images(clips: Sequence[Clip]) -> dict[str, Any]:
    return {"images": [[Image.fromarray(image) for image in images] for images, _ in clips]}


def _token_spans(prompt: Question, places: Sequence[tuple[int, int]]) -> TokenSpans:
    """Spans in tokens from those in characters.

    Args:
        prompt: before the processor put the tokens of the video into it, which come before the
            question: offsets from the end are the same in both.
        places: where each token starts and stops in the text with the video.
    """
    text, length = prompt.text, len(prompt.text)
    move = length - max(stop for _, stop in places)
    starts = []
    for start, stop in places:
        piece = text[max(0, start + move) : max(0, stop + move)]
        # A token belongs where its first visible character does: " Question" is question.
        blank = len(piece) - len(piece.lstrip()) if piece.strip() else 0
        starts.append(start + move + blank)

    def tokens(span: tuple[int, int]) -> tuple[int, int]:
        first, stop = (sum(start < edge for start in starts) for edge in span)
        return first - len(places), stop - len(places)

    return TokenSpans(
        tokens(prompt.question),
        tuple(map(tokens, prompt.options)),
        stem=tokens(prompt.stem),
        ends=tuple(map(tokens, prompt.ends)),
        turn=None if prompt.turn is None else tokens((prompt.turn, prompt.turn))[0],
    )


def read(processor: Any, samples: Sequence[Sample], num_frames: int) -> Any:
    """`decode` and `encode`: model inputs for a batch of samples."""
    return encode(processor, samples, [decode(s, num_frames) for s in samples])
