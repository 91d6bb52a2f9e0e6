"""The text of a question: writing it with its spans, and finding options in text of others."""

import re
from dataclasses import dataclass

DEFAULT_SYSTEM = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail "
    "and movement of objects, and the action and pose of persons. Based on your observations, "
    "select the best option that accurately addresses the question."
)
ANSWER_CUE = "Best option:("

Span = tuple[int, int]
"""Where a part of a text starts and stops."""

_LETTERED_LINE = re.compile(r"^[ \t]*\(?([A-Z])[).:](?=\s|$)", re.MULTILINE)


@dataclass(frozen=True)
class Question:
    """A question as text, and which characters of it are what.

    Attributes:
        question: span of the question itself.
        options: span of each answer option; none in an open question.
    """

    text: str
    question: Span
    options: tuple[Span, ...] = ()

    def within(self, prompt: str) -> "Question | None":
        """The same spans in a prompt that holds this text, or None if it does not.

        The last occurrence counts, and white space around the text may be gone.
        """
        core = self.text.strip()
        lead = len(self.text) - len(self.text.lstrip())
        at = prompt.rfind(core)
        if at < 0:
            return None
        move = at - lead
        options = tuple((start + move, stop + move) for start, stop in self.options)
        return Question(prompt, (self.question[0] + move, self.question[1] + move), options)


def letter(index: int) -> str:
    """The letter of an option: 0 is A."""
    return chr(ord("A") + index)


def choice_question(question: str, options: list[str]) -> Question:
    """Question and lettered options in the form of Map the Flow (2510.13251, appendix)."""
    text = f"Question: {question}\nOptions:\n"
    stop = len(text)
    spans = []
    for index, option in enumerate(options):
        line = f"({letter(index)}) {option}\n"
        # The line's end belongs to the option before another one, as the separator does.
        final = index == len(options) - 1
        spans.append((len(text), len(text) + len(line) - final))
        text += line
    return Question(f"{text}Only give the best option.", (0, stop), tuple(spans))


def choice_text(question: str, options: list[str]) -> str:
    """The text of `choice_question`."""
    return choice_question(question, options).text


def open_question(question: str) -> Question:
    """A question without options, which is answered in the model's own words."""
    text = f"Question: {question}"
    return Question(text, (0, len(text)))


def find_options(text: str) -> tuple[Span, ...]:
    """Spans of lettered options in a text that someone else wrote: lines that begin A, B, C, ...

    The longest such run counts, the last of equals. An option may go over several lines, except the
    last one, whose end nothing marks.
    """
    best: list[re.Match[str]] = []
    run: list[re.Match[str]] = []
    for match in _LETTERED_LINE.finditer(text):
        if match[1] == letter(len(run)):
            run.append(match)
        else:
            run = [match] if match[1] == "A" else []
        if len(run) >= len(best):
            best = list(run)
    if len(best) < 2:
        return ()
    starts = [match.start() for match in best]
    line_end = text.find("\n", best[-1].end())
    return tuple(zip(starts, [*starts[1:], line_end if line_end >= 0 else len(text)], strict=True))
