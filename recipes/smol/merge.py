"""An adapter into the weights: `python recipes/smol/merge.py BASE --adapter FILE --out DIR`."""

import argparse
from pathlib import Path

import torch
from adapter import merge

from prune.checkpoint.load import open_model


def main() -> None:
    """Read, merge and save in bfloat16, half the size of what `build.py` saves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="the folder that build.py wrote")
    parser.add_argument("--adapter", type=Path, required=True, help="what train.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    args = parser.parse_args()
    opened = open_model(args.base)
    merge(opened.model, args.adapter)
    opened.model.to(torch.bfloat16).save_pretrained(args.out)
    opened.processor.save_pretrained(args.out)


if __name__ == "__main__":
    main()
