"""The finding of one explanation in a sentence: what was explained, and its probability."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def headline(record: Mapping[str, Any], top: int) -> tuple[str, str]:
    """What is explained, and what was found.

    Args:
        record: of one sample (`prune.evidence.explain.record_of`).
        top: how many of the first regions are named.
    """
    return explained(record), _found(record, top)


def explained(record: Mapping[str, Any]) -> str:
    """What an explanation is about: its target in the words of its options and reply."""
    name, reply = record["target"]["name"], record["reply"]
    chosen = "".join(reply[i] for i in record["target"]["tokens"]).strip()
    if is_counter(record):
        why = {
            "right": "the true answer",
            "other": "the answer that was not chosen",
        }.get(name, "another answer")
        said = f", in place of {record['chosen']!r}" if record["chosen"] is not None else ""
        return f"Explained: {why}, {_option(record, chosen)!r}{said}"
    if record["options"] and name == "answer":
        return f"Explained: the answer {_option(record, chosen)!r}"
    if len(record["target"]["tokens"]) == len(reply):
        return "Explained: the whole reply"
    return f"Explained: {chosen!r} in the reply"


def is_counter(record: Mapping[str, Any]) -> bool:
    """Whether the target is not what the model said."""
    name: str = record["target"]["name"]
    return name in ("right", "other") or name.startswith("counter:")


def shown_as(record: Mapping[str, Any]) -> str:
    """What the regions are of."""
    return "picture" if record["medium"] == "image" else "clip"


def _option(record: Mapping[str, Any], letter: str) -> str:
    """The text of the option that a letter stands for; other words as they are."""
    index = ord(letter) - ord("A") if len(letter) == 1 else -1
    options: list[str] = record["options"]
    return options[index] if 0 <= index < len(options) else letter


def _found(record: Mapping[str, Any], top: int) -> str:
    curves, medium = record["curves"], shown_as(record)
    if "revised" in record:
        before, after = record["revised"]["before"], record["revised"]["after"]
        gone = 100 * record["correction"]
        if before["answer"] == after["answer"]:
            return f"{before['answer']} {short(before['p'])}, whatever is left out of the {medium}"
        return (
            f"{before['answer']} {short(before['p'])} → {after['answer']} {short(after['p'])} "
            f"without {gone:.1f}% of the {medium}"
        )
    shown, left = (
        np.array(curves[name])[:, record["target"]["tokens"]].mean(1)
        for name in ("insertion", "deletion")
    )
    mean = "mean p" if len(record["target"]["tokens"]) > 1 else "p"
    area = 100 * curves["area"][top]
    return (
        f"{mean} {short(shown[-1])} with the whole {medium}, {short(shown[0])} without it; "
        f"{short(shown[top])} with the outlined {area:.1f}% alone, {short(left[top])} without them"
    )


def short(p: float) -> str:
    """A probability with two decimals, or three where two would say that it is 0 or 1."""
    rounded = f"{p:.2f}"
    return f"{p:.3f}" if rounded in ("0.00", "1.00") else rounded


def named_reply(record: Mapping[str, Any]) -> list[str]:
    """The tokens of the reply; a letter that it begins with bears the text of its option."""
    texts = list(record["reply"])
    letter = texts[0].strip() if texts else ""
    if record["options"] and _option(record, letter) != letter:
        texts[0] = f"{letter} = {_option(record, letter)}"
    return texts
