"""What a person sees in the terminal: progress bars, tables, and a plan drawn as a grid."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from prune.bench.compare import Benched
from prune.edges import EdgeHistogram
from prune.evaluate.answers import Answer
from prune.evaluate.stats import proportion
from prune.matrix import Transfer
from prune.pathways import SAME_FRAME, Reach
from prune.plan.liveness import State, leaks, states
from prune.plan.outlook import TOKENS_PER_FRAME, outlook, video_prompt
from prune.plan.search import Found
from prune.report.figures.plan import MAP_ROWS
from prune.result import AccuracyReport, Result, by_quantity
from prune.segments import Role

out = Console()
err = Console(stderr=True)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; yields the function that advances it.

    Of several processes under `torchrun`, the first one shows it.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    others = os.environ.get("RANK", "0") != "0"
    with Progress(*columns, console=err, disable=others) as bar:
        task = bar.add_task(title, total=total)
        yield lambda n: bar.advance(task, n)


def plan_grid(reach: Reach, histogram: EdgeHistogram | None = None) -> Table:
    """Layers by pathways: full blocks are kept edges, dots removed ones."""
    table = Table(
        title="edges kept, by layer", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    table.add_column("pathway")
    table.add_column(f"layers 1 to {len(reach)}")
    for pathway in MAP_ROWS:
        line = Text()
        for layer in reach:
            block = [int(layer[g, q, k]) for g in range(len(layer)) for q in pathway.queries
                     for k in pathway.keys]  # fmt: skip
            needed = SAME_FRAME + 1 if pathway.name == "cross_frame" else 0
            share = sum(limit >= needed for limit in block) / len(block)
            line.append("█" if share == 1 else "▄" if share else "·")
        table.add_row(pathway.title, line)
    return table


def liveness_lines(reach: Reach) -> list[str]:
    """For video and question: the layer (1-based) after which their states are dead."""
    state = states(reach)
    lines = []
    for role in (Role.VIDEO, Role.QUESTION):
        dead = [layer + 1 for layer in range(len(reach)) if state[layer, role] == State.DEAD]
        lines.append(
            f"{role.name.lower()} states: "
            + (f"dead in {len(dead)} of {len(reach)} layers, from layer {dead[0]} on" if dead
               else "alive in every layer")
        )  # fmt: skip
    return lines


def leak_lines(reach: Reach, most: int = 5) -> list[str]:
    """The ways from video to the answer that can start latest, layers counted from 1."""
    ways = sorted(leaks(reach), key=lambda leak: (-leak.layers[0][-1], leak.roles))
    if not ways:
        return ["no way from the video to the answer is open"]
    lines = [f"video still reaches the answer from layer {ways[0].layers[0][-1] + 1}, by"]
    for leak in ways[:most]:
        hops = zip(leak.roles[1:], leak.layers, strict=True)
        path = " → ".join(
            f"{role.name.lower()} ({layers[0] + 1}-{layers[-1] + 1})" for role, layers in hops
        )
        lines.append(f"  video → {path}")
    return lines + ([f"  and {len(ways) - most} more ways"] if len(ways) > most else [])


def outlook_table(reach: Reach, frames: Sequence[int] = (8, 64)) -> Table:
    """What a plan saves on prompts of the paper's shape."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    columns = (
        f"kept, frames x {TOKENS_PER_FRAME} tokens",
        "edges",
        "states",
        "KV",
        "KV, multi turn",
    )
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for count in frames:
        found = outlook(reach, video_prompt(count))
        shares = (found.edges, found.computed, found.kv, found.kv_multi_turn)
        table.add_row(f"{count} frames", *(f"{100 * share:.0f}%" for share in shares))
    return table


def found_table(found: Found) -> Table:
    """What a searched plan saves, and what it lost on the calibration samples."""
    cost, dense = found.cost, found.dense_cost
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("calibration", "dense", "plan"):
        table.add_column(column, justify="left" if column == "calibration" else "right")
    table.add_row("edges", "100%", f"{100 * cost.edges / dense.edges:.1f}%")
    table.add_row("prefill FLOPs", "100%", f"{100 * cost.flops / dense.flops:.1f}%")
    table.add_row("KV cache", "100%", f"{100 * cost.kv_bytes / dense.kv_bytes:.1f}%")
    for name in ("accuracy", "expected"):
        values = [getattr(score, name) for score in (found.dense, found.score)]
        table.add_row(f"{name}, %", *(f"{value:.2f}" for value in values))
    for harm in found.harms:
        points = f"{harm.points[1]:+.2f} points, {100 * harm.flops:.1f}% of FLOPs"
        table.add_row(f"with {harm.pathway} given back", "", points)
    return table


def result_table(result: Result) -> Table:
    """The result in a few rows."""
    table = Table(show_header=True, box=None, padding=(0, 2, 0, 0))
    for column in ("", "dense", "pruned", "random edges"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("edges", "100%", f"{100 - result.removed:.1f}%", f"{100 - result.removed:.1f}%")
    if result.accuracy:
        for row in (*result.accuracy.tasks, result.accuracy.overall):
            random = "" if row.random is None else f"{row.random:.1f}"
            name = f"{row.task.replace('_', ' ')} (n={row.n})"
            style = "bold" if row.task == "all" else None
            table.add_row(
                name, f"{row.dense.value:.1f}", f"{row.pruned.value:.1f}", random, style=style
            )
    dense, *_, best = result.cost
    table.add_row(
        "prefill FLOPs (counted)", f"{dense.flops / 1e9:.3f} G", f"{best.flops / 1e9:.3f} G", ""
    )
    table.add_row(
        "KV cache (counted)",
        f"{dense.kv_bytes / 1024:.0f} KiB",
        f"{best.kv_bytes / 1024:.0f} KiB",
        "",
    )
    for what, pair in by_quantity(result.latency).items():
        table.add_row(
            f"{what} (measured)", f"{pair['dense'].median:.2f} ms",
            f"{pair['pruned'].median:.2f} ms", "",
        )  # fmt: skip
    return table


def baseline_table(result: Result) -> Table:
    """What the plan's cost buys otherwise, on the same held-out samples."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("at the plan's cost", "FLOPs", "accuracy", "plan is better by", "p"):
        table.add_column(column, justify="left" if column.startswith("at") else "right")
    for row in result.baselines:
        by = row.difference
        table.add_row(
            row.name,
            f"{100 * row.flops:.0f}%",
            f"{sum(row.accuracies) / len(row.accuracies):.1f}",
            f"{by.value:+.1f} \\[{by.low:+.1f}, {by.high:+.1f}]",
            f"{row.p_value:.2g}",
        )
    return table


def transfer_table(found: Transfer) -> Table:
    """Points that each plan loses against dense, by what it was found on and used on."""
    table = Table(title="accuracy against dense, in points", title_justify="left", box=None,
                  padding=(0, 2, 0, 0))  # fmt: skip
    table.add_column("used on (dense accuracy)")
    for task in found.flops:
        table.add_column(f"found on {task.replace('_', ' ')}", justify="right")
    rows: dict[str, list[str]] = {}
    for cell in found.cells:
        name = f"{cell.used_on.replace('_', ' ')} ({cell.dense:.1f}%, n={cell.n})"
        by = cell.difference
        rows.setdefault(name, []).append(f"{by.value:+.1f} \\[{by.low:+.1f}, {by.high:+.1f}]")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    table.add_row("FLOPs", *(f"{100 * share:.0f}%" for share in found.flops.values()))
    return table


def accuracy_table(answers: Sequence[Answer]) -> Table:
    """Accuracy by task, restricted to the options and over the whole vocabulary."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("task", "n", "accuracy", "95%", "free"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task in (*sorted({a.task for a in answers}), "all"):
        rows = [a for a in answers if task in ("all", a.task)]
        share = proportion([a.correct for a in rows])
        free = 100 * sum(a.free_correct for a in rows) / len(rows)
        table.add_row(
            task.replace("_", " "), str(len(rows)), f"{share.value:.1f}",
            f"[{share.low:.1f}, {share.high:.1f}]", f"{free:.1f}",
        )  # fmt: skip
    return table


def comparison_table(report: AccuracyReport) -> Table:
    """Two models on the same samples, by task, with the paired difference."""
    table = Table(
        title=f"{len(report.flipped)} answers differ; exact McNemar p = {report.p_value:.3g}",
        title_justify="left", box=None, padding=(0, 2, 0, 0),
    )  # fmt: skip
    for column in ("task", "n", "against", "this model", "difference [95%]"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for row in (*report.tasks, report.overall):
        change = row.difference
        table.add_row(
            row.task.replace("_", " "), str(row.n), f"{row.dense.value:.1f}",
            f"{row.pruned.value:.1f}",
            f"{change.value:+.1f} \\[{change.low:+.1f}, {change.high:+.1f}]",
        )  # fmt: skip
    return table


def bench_tables(benched: Sequence[Benched]) -> list[Table]:
    """Times, then throughput and memory, at each number of frames."""
    tables = []
    for at in benched:
        title = f"{at.frames} frames, {at.tokens} tokens"
        tables += [_latency_table(at, title), _capacity_table(at, title)]
    return tables


def _latency_table(at: Benched, title: str) -> Table:
    """Dense and pruned side by side, median [p20, p80] in ms."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("ms", "dense SDPA", "pruned", "speed-up", "by FLOPs"):
        table.add_column(column, justify="left" if column == "ms" else "right")
    for what, pair in by_quantity(at.latency).items():
        cells = [f"{r.median:.2f} \\[{r.p20:.2f}, {r.p80:.2f}]" for r in pair.values()]
        ratio = f"{pair['dense'].median / pair['pruned'].median:.2f}x"
        counted = f"{at.predicted_prefill:.2f}x" if what == "LLM prefill" else ""
        table.add_row(what, *cells, ratio, counted)
    return table


def _capacity_table(at: Benched, title: str) -> Table:
    """Throughput, KV cache and peak memory of every batch."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("requests", "model", "tokens/s", "KV cache", "peak memory"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in at.capacity:
        fits = row.tokens_per_second > 0
        peak = (
            "not told by a CPU" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.1f} MiB"
        )
        cells = [f"{row.tokens_per_second:.1f}", f"{row.kv_bytes / 2**20:.2f} MiB", peak]
        cells = cells if fits else ["out of memory", "", ""]
        table.add_row(str(row.batch), row.model, *cells)
    table.caption = f"KV cache of the prompt by the plan: {at.predicted_kv:.1f}x smaller"
    return table
