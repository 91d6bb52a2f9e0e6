"""A survey as CSV and JSON. Every column is described in `COLUMNS`; layers are 1-based."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prune.io.csv import write_csv
from prune.io.files import write_atomically
from prune.lens.summary import Record, WordCounts, mean_curves
from prune.lens.survey import READINGS, Survey

COLUMNS = {
    "id": "the sample",
    "task": "its task",
    "correct": "1 if the likeliest token is the true option's letter",
    "reading": "normed: the final norm is applied after every layer; raw: after the last alone",
    "layer": "1 to L, after that decoder layer; 0 is the embeddings",
    "p_true": "probability of the true option's letter over the whole vocabulary, 0 to 1",
    "p_false": "mean probability of the other options' letters",
    "likeliest": "the likeliest token",
    "first": "first layer whose likeliest token is the final answer",
    "settled": "first layer from which on every likeliest token is the final answer",
    "group": "group of the word",
    "word": "the word, by any of its tokens that distinguish it from the other words",
    "hits": "video tokens whose likeliest token is one of the word's",
    "tokens": "video tokens looked at",
    "frame": "1-based index of the frame (temporal unit)",
    "row": "1-based row of the cell in its frame, from the top",
    "column": "1-based column of the cell, from the left",
    "rank": "1 is the likeliest token",
    "token": "the token",
    "probability": "its probability over the whole vocabulary",
    "query": "the prompt word or position that reads",
    "head": "mean or max over heads, or a 1-based head",
    "dense": "attention weight of the query on the cell in the dense model",
    "knockout": "the same with the pathway's edges removed",
}


def write_tables(out: Path, seen: Survey, which: str, words: WordCounts) -> None:
    """Write `answers.csv` and `exits.csv` of every sample, `words.csv`, and `lens.json`.

    Args:
        out: the folder.
        seen: the survey.
        which: the samples that means and `words` are over.
        words: their word counts.
    """
    usable = seen.chosen("all")
    write_csv(
        out / "answers.csv",
        ("id", "task", "correct", "reading", "layer", "p_true", "p_false", "likeliest"),
        (row for record in usable for row in _answer_rows(record)),
    )
    write_csv(
        out / "exits.csv",
        ("id", "task", "correct", "reading", "first", "settled"),
        ([*_sample(r), name, r[name]["first"], r[name]["settled"]]
         for r in usable for name in READINGS),
    )  # fmt: skip
    write_csv(
        out / "words.csv",
        ("layer", "group", "word", "hits", "tokens"),
        ([layer, group, word, int(words.hits[layer, index]), words.tokens]
         for layer in range(len(words.hits)) for index, (group, word) in enumerate(words.words)),
    )  # fmt: skip
    chosen = seen.chosen(which)
    summary = {
        **seen.header,
        "columns": COLUMNS,
        "which": which,
        "counts": counts(seen, which),
        "failed": seen.failed,
        "probability": mean_curves(chosen),
    }
    write_atomically(out / "lens.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")


def counts(seen: Survey, which: str) -> dict[str, int]:
    """Numbers of samples: all, shown, answered correctly, and failed."""
    return {
        "samples": len(seen.records),
        "shown": len(seen.chosen(which)),
        "correct": len(seen.chosen("correct")),
        "failed": len(seen.failed),
    }


def _sample(record: Record) -> list[Any]:
    return [record["id"], record["task"], int(record["correct"])]


def _answer_rows(record: Record) -> Iterable[list[Any]]:
    for name in READINGS:
        reading = record[name]
        for layer, (p, token) in enumerate(zip(reading["p"], reading["likeliest"], strict=True), 1):
            others = [value for index, value in enumerate(p) if index != record["true"]]
            p_false = float(f"{sum(others) / len(others):.6g}")
            yield [*_sample(record), name, layer, p[record["true"]], p_false, token]
