"""Questions with options in the words of a user's template, with their spans."""

import re

from prune.inputs.prompts import Question, Span, letter

_PLACE = re.compile(r"\{(question|options)(?::([^{}]*))?\}")
_LABEL = "(A)"


def check_template(template: str) -> None:
    """Raise `ValueError` unless a template holds `{question}` and then `{options}`, once each."""
    names = [match[1] for match in _PLACE.finditer(template)]
    if names != ["question", "options"]:
        raise ValueError(
            f"prompt {template!r}: give a template with {{question}}, then {{options}}, "
            "such as 'Question: {question}\\n{options:A.}\\nAnswer with the letter.'"
        )
    for match in _PLACE.finditer(template):
        if match[2] is not None and (match[1] == "question" or match[2].count("A") != 1):
            raise ValueError(
                f"prompt: {match[0]}: give how the first option is labelled, with one A, such as "
                "{options:A.}"
            )


def templated_question(template: str, question: str, options: list[str]) -> Question:
    """The question and its lettered options, one per line, in a template.

    What stands before and between the two belongs to the question, what follows them to the tail.

    Args:
        template: text with `{question}`, then `{options}`; `{options:A.}` labels options `A.`, `B.`
            and so on instead of `(A)`, `(B)`.
        question: the question's stem.
        options: in order.

    Raises:
        ValueError: see `check_template`.
    """
    check_template(template)
    asked, shown = _PLACE.finditer(template)
    stem = (asked.start(), asked.start() + len(question))
    text = template[: asked.start()] + question + template[asked.end() : shown.start()]
    begin = len(text)
    spans: list[Span] = []
    for index, option in enumerate(options):
        label = (shown[2] or _LABEL).replace("A", letter(index))
        # The line's end belongs to the option before another one, as in `choice_question`.
        line = f"{label} {option}" + ("\n" if index < len(options) - 1 else "")
        spans.append((len(text), len(text) + len(line)))
        text += line
    end = len(text)
    text += template[shown.end() :]
    ends = [(stop - 1, stop) for _, stop in spans[:-1]] + [(end, min(end + 1, len(text)))]
    return Question(text, (0, begin), tuple(spans), stem, tuple(ends))
