"""Where and in what precision a model is loaded, as options of a command."""

from enum import StrEnum
from typing import Annotated

import typer


class Precision(StrEnum):
    """Of the weights."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


Device = Annotated[
    str | None,
    typer.Option(
        help="cpu, cuda:0, or for several GPUs auto, balanced or sequential, as transformers' "
        "device_map (default: all GPUs, or the CPU without one)."
    ),
]
Dtype = Annotated[
    Precision | None,
    typer.Option(
        help="Precision of the weights (default: as traced or exported, or auto, that of the "
        "stored ones)."
    ),
]
