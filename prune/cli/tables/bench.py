"""Tables of a benchmark for the terminal."""

from collections.abc import Sequence

from rich.table import Table

from prune.results.latency import BenchRow, by_quantity


def bench_tables(benched: Sequence[BenchRow]) -> list[Table]:
    """Times, then throughput and memory, at each number of frames."""
    tables = []
    for at in benched:
        title = f"{at.shape.frames} frames, {at.shape.tokens} tokens"
        tables += [_latency_table(at, title), _capacity_table(at, title)]
    return tables


def _latency_table(at: BenchRow, title: str) -> Table:
    """Dense and pruned side by side, median [p20, p80] in ms."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("ms", "dense SDPA", "pruned", "speed-up", "by FLOPs"):
        table.add_column(column, justify="left" if column == "ms" else "right")
    for what, pair in by_quantity(at.latency).items():
        cells = [f"{r.median:.2f} [{r.p20:.2f}, {r.p80:.2f}]" for r in pair.values()]
        ratio = f"{pair['dense'].median / pair['pruned'].median:.2f}x"
        counted = f"{at.shape.prefill_ratio:.2f}x" if what == "LLM prefill" else ""
        table.add_row(what, *cells, ratio, counted)
    return table


def _capacity_table(at: BenchRow, title: str) -> Table:
    """Throughput, KV cache and peak memory of every batch."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("requests", "model", "tokens/s", "KV cache", "peak memory", "energy"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in at.capacity:
        fits = row.tokens_per_second > 0
        peak = (
            "not reported by a CPU"
            if row.peak_bytes is None
            else f"{row.peak_bytes / 2**20:.1f} MiB"
        )
        energy = "not reported" if row.joules is None else f"{row.joules:.1f} J"
        cells = [f"{row.tokens_per_second:.1f}", f"{row.kv_bytes / 2**20:.2f} MiB", peak, energy]
        cells = cells if fits else ["out of memory", "", "", ""]
        table.add_row(str(row.batch), row.model, *cells)
    table.caption = f"KV cache of the prompt by the plan: {at.shape.kv_ratio:.1f}x smaller"
    return table
