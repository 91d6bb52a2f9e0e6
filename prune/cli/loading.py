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
        help="cpu, cuda:0, or auto for all GPUs (default: all GPUs, or the CPU without one)."
    ),
]
Dtype = Annotated[
    Precision, typer.Option(help="Precision of the weights; auto is that of the stored ones.")
]
