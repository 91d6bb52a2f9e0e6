"""Curves over layers as CSV."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def curves_csv(
    columns: Sequence[str],
    curves: Sequence[Mapping[str, Any]],
    at: Callable[[Mapping[str, Any], int], Any] = lambda curve, layer: layer,
) -> str:
    """A CSV with a row per layer of every curve.

    Args:
        columns: in order, among them `layer`, `mean`, `low` and `high`.
        curves: each with `mean`, `low` and `high` `[L]`, and the other columns.
        at: what stands in the column `layer` of a curve, given its 1-based layer.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for curve in curves:
        points = zip(curve["mean"], curve["low"], curve["high"], strict=True)
        for layer, (mean, low, high) in enumerate(points, 1):
            row = {"layer": at(curve, layer), "mean": mean, "low": low, "high": high}
            writer.writerow({**curve, **row})
    return text.getvalue()
