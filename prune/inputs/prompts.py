"""The text of a question: writing it with its spans, and finding options in text of others."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

ANSWER_CUE = "Best option:("
INSTRUCTION = "Only give the best option."

Span = tuple[int, int]
"""Where a part of a text starts and stops."""

_LETTERED_LINE = re.compile(r"^[ \t]*\(?([A-Z])[).:](?=\s|$)", re.MULTILINE)


@dataclass(frozen=True)
class Wording:
    """What a prompt says around a question with options, beside its cue.

    Attributes:
        system: a system prompt in front of the video; the chat template's own one if empty.
        instruction: behind the options.
        prompt: a template of the user's own words in place of all that
            (`prune.inputs.templates`); empty without one.
    """

    system: str = ""
    instruction: str = INSTRUCTION
    prompt: str = ""

    def over(self, system: str | None, prompt: str | None) -> "Wording":
        """This wording with what is not None in place of its own."""
        given = {"system": system, "prompt": prompt}
        return replace(self, **{name: text for name, text in given.items() if text is not None})

    @property
    def given(self) -> dict[str, str]:
        """What differs from the default, by name, for files."""
        return {k: v for k, v in asdict(self).items() if v != getattr(DEFAULT_WORDING, k)}

    @staticmethod
    def of(header: Mapping[str, Any]) -> "Wording":
        """The wording among the fields of a file that holds what was `given`."""
        return replace(DEFAULT_WORDING, **{k: header[k] for k in _WORDED if k in header})


DEFAULT_WORDING = Wording()
_WORDED = [field.name for field in fields(Wording)]


@dataclass(frozen=True)
class Question:
    """A question as text, and which characters of it are what.

    Attributes:
        question: span of the question with the words around it ("Question:", "Options:").
        options: span of each answer option; none in an open question.
        stem: span of the question alone, within `question`.
        ends: span of what separates each option from what follows it.
        turn: where the turn of the question is opened, behind earlier turns; None without those.
    """

    text: str
    question: Span
    options: tuple[Span, ...] = ()
    stem: Span = (0, 0)
    ends: tuple[Span, ...] = ()
    turn: int | None = None

    def within(self, prompt: str) -> "Question | None":
        """The same spans in a prompt that holds this text, or None if it does not.

        The last occurrence counts, and white space around the text may be gone.
        """
        core = self.text.strip()
        lead = len(self.text) - len(self.text.lstrip())
        at = prompt.rfind(core)
        if at < 0:
            return None

        def moved(span: Span) -> Span:
            return span[0] + at - lead, span[1] + at - lead

        options, ends = (tuple(map(moved, spans)) for spans in (self.options, self.ends))
        return Question(prompt, moved(self.question), options, moved(self.stem), ends)


def letter(index: int) -> str:
    """The letter of an option: 0 is A."""
    return chr(ord("A") + index)


def choice_question(question: str, options: list[str], instruction: str = INSTRUCTION) -> Question:
    """Question and lettered options in the form of Map the Flow (2510.13251, appendix)."""
    text = f"Question: {question}\nOptions:\n"
    stop = len(text)
    stem = len("Question: ")
    spans, ends = [], []
    for index, option in enumerate(options):
        line = f"({letter(index)}) {option}\n"
        # The line's end belongs to the option before another one, as the separator does.
        final = index == len(options) - 1
        spans.append((len(text), len(text) + len(line) - final))
        text += line
        ends.append((len(text) - 1, len(text)))
    return Question(
        text + instruction, (0, stop), tuple(spans), (stem, stem + len(question)), tuple(ends)
    )


def choice_text(question: str, options: list[str]) -> str:
    """The text of `choice_question`."""
    return choice_question(question, options).text


def open_question(question: str) -> Question:
    """A question without options, which is answered in the model's own words."""
    text = f"Question: {question}"
    return Question(text, (0, len(text)), stem=(len("Question: "), len(text)))


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
