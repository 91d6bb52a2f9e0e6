"""Windows: the layers that each knockout cuts, for every style of sweep."""

from enum import StrEnum


class Style(StrEnum):
    """Which layers the knockout at layer l cuts (the first four are the paper's)."""

    CENTRE = "centre"
    INVERSE = "inverse"
    TOP_DOWN = "top-down"
    BOTTOM_UP = "bottom-up"
    FIRST_HALF = "first-half"
    EVERY = "every"


def default_window(num_layers: int) -> int:
    """The paper's window of 9 of 32 layers, scaled to a model's depth."""
    return max(1, round(9 * num_layers / 32))


def window_layers(centre: int, window: int, num_layers: int) -> list[int]:
    """The `window` layers around `centre` (0-based), cut off at both ends."""
    start, stop = centre - window // 2, centre + (window + 1) // 2
    return list(range(max(0, start), min(num_layers, stop)))


def style_windows(style: Style, window: int, num_layers: int) -> list[list[int]]:
    """The layers (0-based, ascending) of every knockout of a sweep.

    Args:
        style: around a layer, everything but that, from a layer to the top or up to it: one item
            per layer. The first half of the layers, or every layer: a single item.
        window: number of layers around a layer, for the first two.
        num_layers: L.
    """
    layers = list(range(num_layers))
    around = [window_layers(centre, window, num_layers) for centre in layers]
    sweeps = {
        Style.CENTRE: around,
        Style.INVERSE: [[layer for layer in layers if layer not in inner] for inner in around],
        Style.TOP_DOWN: [layers[centre:] for centre in layers],
        Style.BOTTOM_UP: [layers[: centre + 1] for centre in layers],
        Style.FIRST_HALF: [layers[: num_layers // 2]],
        Style.EVERY: [layers],
    }
    return sweeps[style]
