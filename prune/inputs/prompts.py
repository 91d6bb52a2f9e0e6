"""The text of a multiple-choice prompt: writing it, and finding its parts again."""

import re
from dataclasses import dataclass

DEFAULT_SYSTEM = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail "
    "and movement of objects, and the action and pose of persons. Based on your observations, "
    "select the best option that accurately addresses the question."
)
ANSWER_CUE = "Best option:("

_MARKER = re.compile(r"(?<![A-Za-z0-9])\(?([A-Z])[).:](?=\s|$)")
_TURN_ENDS = re.compile(
    r"\s*(?:ASSISTANT:|<\|im_end\|>|<\|im_start\|>assistant|<\|eot_id\|>|<\|assistant\|>|"
    r"<end_of_utterance>|Assistant:|</s>|\[/INST\])"
)
# What ends a video may hold the last frame's time: GLM's "<|end_of_image|>3<|end_of_video|>".
_TURN_STARTS = re.compile(r"(?:\s|USER:|User:|<[|/a-z_]+\|?>|\d+(?=<\|)|\buser\b)*")


def letter(index: int) -> str:
    """The letter of an option: 0 is A."""
    return chr(ord("A") + index)


def choice_text(question: str, options: list[str]) -> str:
    """Question and lettered options in the form of Map the Flow (2510.13251, appendix)."""
    lines = "\n".join(f"({letter(i)}) {option}" for i, option in enumerate(options))
    return f"Question: {question}\nOptions:\n{lines}\nOnly give the best option."


@dataclass(frozen=True)
class Spans:
    """Character offsets in the text after the video: bridge, question, options, tail, in order."""

    question_start: int
    question_stop: int
    options: tuple[tuple[int, int], ...]

    def option_at(self, position: int) -> int:
        """Index of the option that covers `position`, or -1."""
        for index, (start, stop) in enumerate(self.options):
            if start <= position < stop:
                return index
        return -1


def _options(text: str) -> tuple[tuple[int, int], ...]:
    """Spans of the lettered options: the longest run of markers A, B, C, ... in the text."""
    best: list[re.Match[str]] = []
    run: list[re.Match[str]] = []
    for match in _MARKER.finditer(text):
        if match[1] == letter(len(run)):
            run.append(match)
        else:
            run = [match] if match[1] == "A" else []
        if len(run) > len(best):
            best = list(run)
    if len(best) < 2:
        return ()
    line_end = text.find("\n", best[-1].end())
    turn_end = _TURN_ENDS.search(text, best[-1].end())
    stops = [p for p in (line_end, turn_end.start() if turn_end else -1) if p >= 0]
    starts = [match.start() for match in best]
    return tuple(zip(starts, [*starts[1:], min(stops, default=len(text))], strict=True))


def spans_after_video(text: str) -> Spans:
    """Find question, options and tail in the prompt text that follows the video.

    The question starts at its "Question:" where there is one, else at the first word that is not
    the chat template's. It ends where the options start, or, without options, where the user's turn
    ends.
    """
    options = _options(text)
    limit = options[0][0] if options else len(text)
    named = text.find("Question:", 0, limit)
    if named >= 0:
        start = named
    else:
        skipped = _TURN_STARTS.match(text, 0, limit)
        start = skipped.end() if skipped else 0
    if not options:
        end = _TURN_ENDS.search(text, start)
        limit = end.start() if end else len(text)
    return Spans(start, limit, options)
