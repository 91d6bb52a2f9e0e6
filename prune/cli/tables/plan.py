"""Grid, liveness, leaks and savings of a plan for the terminal."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from prune.layout.edges import EdgeHistogram
from prune.layout.freezing import FREEZABLE, updated
from prune.layout.pathways import MAP_ROWS
from prune.layout.reach import NONE, SAME_FRAME, Reach
from prune.layout.segments import Role
from prune.plan.liveness import State, leaks, states
from prune.plan.outlook import TEXT, TOKENS_PER_FRAME, outlook, video_prompt
from prune.plan.schema import ranges_of
from prune.plan.search_result import SearchResult


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
            gone = {
                "cross_frame": (NONE, SAME_FRAME),
                "intra_frame": tuple(x for x in block if x < 0),
            }
            lost = gone.get(pathway.name, (NONE,))
            share = sum(limit not in lost for limit in block) / len(block)
            line.append("█" if share == 1 else "▄" if share else "·")
        table.add_row(pathway.title, line)
    return table


def dead_layers(reach: Reach) -> dict[str, list[int]]:
    """For video and question: the layers (1-based) in which their states are dead."""
    state = states(reach)
    return {
        role.name.lower(): [n + 1 for n in range(len(reach)) if state[n, role] == State.DEAD]
        for role in (Role.VIDEO, Role.QUESTION)
    }


def frozen_layers(reach: Reach) -> dict[str, list[int]]:
    """The layers (1-based) that do not update the states of a role, for each with some."""
    moves = updated(reach)
    return {
        role.name.lower(): [n + 1 for n in range(len(reach)) if not moves[n, role]]
        for role in FREEZABLE
        if not moves[:, role].all()
    }


def plan_facts(reach: Reach, frames: Sequence[int]) -> dict[str, Any]:
    """What the tables of a plan show, as plain values for `--json`."""
    kept = [{"frames": n, **asdict(outlook(reach, video_prompt(n)))} for n in frames]
    leaking = [[role.name.lower() for role in leak.roles] for leak in leaks(reach)]
    return {
        "layers": len(reach),
        "frozen": frozen_layers(reach),
        "dead": dead_layers(reach),
        "leaks": leaking,
        "kept": kept,
    }


def liveness_lines(reach: Reach) -> list[str]:
    """Frozen states, and for video and question the layer (1-based) from which they are dead."""
    lines = []
    for name, layers in frozen_layers(reach).items():
        lines.append(f"{name} states: frozen in layers {ranges_of(layers)}")
    for name, dead in dead_layers(reach).items():
        lines.append(
            f"{name} states: "
            + (f"dead in {len(dead)} of {len(reach)} layers, from layer {dead[0]} on" if dead
               else "alive in every layer")
        )  # fmt: skip
    return lines


def leak_lines(reach: Reach, most: int = 5) -> list[str]:
    """The open ways from video to the answer, those that start latest first."""
    ways = sorted(leaks(reach), key=lambda leak: (-leak.layers[0][-1], leak.roles))
    if not ways:
        return ["no path from the video to the answer is open"]
    lines = [f"video still reaches the answer from layer {ways[0].layers[0][-1] + 1}, by"]
    for leak in ways[:most]:
        hops = zip(leak.roles[1:], leak.layers, strict=True)
        path = " → ".join(
            f"{role.name.lower()} ({layers[0] + 1}-{layers[-1] + 1})" for role, layers in hops
        )
        lines.append(f"  video → {path}")
    return lines + ([f"  and {len(ways) - most} more paths"] if len(ways) > most else [])


def outlook_table(reach: Reach, frames: Sequence[int]) -> Table:
    """Shares that a plan keeps on prompts of the paper's shape."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    columns = (
        f"kept, frames x {TOKENS_PER_FRAME} + {sum(TEXT.values())} tokens",
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


def found_table(found: SearchResult) -> Table:
    """Savings of a searched plan, and its losses on the calibration samples."""
    cost, dense = found.cost, found.dense_cost
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("calibration", "dense", "plan"):
        table.add_column(column, justify="left" if column == "calibration" else "right")
    table.add_row("edges", "100%", f"{100 * cost.edges / dense.edges:.1f}%")
    table.add_row("prefill FLOPs", "100%", f"{100 * cost.flops / dense.flops:.1f}%")
    table.add_row("KV cache", "100%", f"{100 * cost.kv_bytes / dense.kv_bytes:.1f}%")
    told = ["accuracy", "expected"] if found.dense.open < found.dense.samples else []
    for name in (*told, *(["agreement"] if found.dense.open else [])):
        values = [getattr(score, name) for score in (found.dense, found.score)]
        table.add_row(f"{name}, %", *(f"{value:.2f}" for value in values))
    for harm in found.harms:
        won = harm.points[1] if told else harm.agreement
        points = f"{won:+.2f} points, {100 * harm.flops:.1f}% of FLOPs"
        table.add_row(f"with {harm.pathway} restored", "", points)
    return table


def found_facts(found: SearchResult) -> dict[str, Any]:
    """What `found_table` shows, as plain values for `--json`; shares of the dense model."""
    cost, dense = found.cost, found.dense_cost
    return {
        "name": found.plan.name,
        "sha256": found.plan.sha256,
        "kept": {
            "edges": cost.edges / dense.edges,
            "flops": cost.flops / dense.flops,
            "kv_bytes": cost.kv_bytes / dense.kv_bytes,
        },
        "calibration": {"dense": asdict(found.dense), "plan": asdict(found.score)},
        "warning": found.warning,
        "interrupted": found.interrupted,
    }
