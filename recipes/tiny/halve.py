"""A smaller training state, to commit: `python recipes/tiny/halve.py DIR/state.pt FILE`.

Weights become float16. What the optimisers hold becomes bfloat16, whose range is float32's: squares
of small gradients would be 0 in float16, and the next step endless.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from train_deep import LESSONS, save_state


def halve(state: Any, dtype: torch.dtype) -> Any:
    """A copy of a nested state with every float32 tensor of more than one number in `dtype`."""
    if isinstance(state, dict):
        return {key: halve(value, dtype) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(halve(value, dtype) for value in state)
    if isinstance(state, torch.Tensor) and state.dtype == torch.float32 and state.numel() > 1:
        return state.to(dtype)
    return state


def main() -> None:
    """Read and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("file", type=Path)
    names = [lesson.name for lesson in LESSONS]
    parser.add_argument("--lesson", choices=names, help="go on at this lesson's first step")
    args = parser.parse_args()
    state = torch.load(args.state, weights_only=True)
    if args.lesson:
        state["at"] = (names.index(args.lesson), 0, state["at"][-1])
    kept = {name: state[name] for name in ("packer", "at")}
    weights = {name: halve(state[name], torch.float16) for name in ("model", "heads")}
    optimizers = halve(state["optimizers"], torch.bfloat16)
    save_state(args.file, {**kept, **weights, "optimizers": optimizers})


if __name__ == "__main__":
    main()
