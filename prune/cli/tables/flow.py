"""Tables of flow maps for the terminal."""

from rich.table import Table

from prune.results.flow_map import KNOCKOUT, Curve, Flow


def flow_table(flow: Flow) -> Table:
    """Where each curve of a flow is farthest from 0, with its 95% band, if it has one.

    Of curves over KV heads, only the head that matters most. A single knockout is shown as it is
    (Map the Flow, 2510.13251, table 2).
    """
    how = "cut: " if flow.method == KNOCKOUT else f"{flow.method}, "
    title = f"{flow.quantity}; {how}{flow.sweep}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("", "layer", "mean", "95%", "n"):
        table.add_column(column, justify="left" if column in ("", "95%") else "right")
    for panel in flow.panels:
        table.add_row(panel.title, style="bold")
        curves = sorted(panel.curves, key=_farthest)[-1:] if flow.form == "heads" else panel.curves
        for curve in curves:
            table.add_row(f"  {curve.label}", *_cells(flow, curve), str(curve.n))
    return table


def _farthest(curve: Curve) -> float:
    return max(map(abs, curve.mean))


def _cells(flow: Flow, curve: Curve) -> tuple[str, str, str]:
    """Layer, mean and band of a curve where it is farthest from 0."""
    at = max(range(len(curve.mean)), key=lambda index: abs(curve.mean[index]))
    layer = str(at + 1) if flow.step else ""
    band = f"[{curve.low[at]:+.2f}, {curve.high[at]:+.2f}]" if curve.low else ""
    return layer, f"{curve.mean[at]:+.2f}", band
