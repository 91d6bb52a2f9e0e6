"""COCO captions (arXiv 1504.00325): `annotations/captions_<split>.json` and `<split>/*.jpg`."""

from pathlib import Path
from typing import Any

from prune.datasets.layout import MAX_BYTES, open_question
from prune.errors import BadInputError
from prune.inputs.samples import Sample
from prune.io.untrusted import read_json

ASKED = (
    "Describe the image in one factual English sentence of no more than 20 words. Do not include "
    "information that is not clearly visible."
)
"""The prompt of EAGLE (arXiv 2509.22496), whose captions are of the split `val2017`."""


def read(folder: Path) -> list[Sample]:
    """Every image with its first caption as the reply; its task is the split's name."""
    files = sorted((folder / "annotations").glob("captions_*.json"))
    samples = []
    for path in files:
        content = read_json(path, "COCO captions", MAX_BYTES)
        split = path.stem.removeprefix("captions_")
        samples += _split(path, content, split, folder / split)
    if not samples:
        raise BadInputError(f"{folder}: no annotations/captions_*.json with captions in it")
    return samples


def _split(path: Path, content: Any, split: str, images: Path) -> list[Sample]:
    try:
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        captions: dict[int, dict[str, Any]] = {}
        for row in sorted(content["annotations"], key=lambda row: row["id"]):
            captions.setdefault(row["image_id"], {"asked": ASKED, "caption": row["caption"]})
        pairs = [(id, images / names[id], caption) for id, caption in sorted(captions.items())]
    except (KeyError, TypeError) as error:
        raise BadInputError(f"{path}: not COCO captions: {error!r}") from None
    return [
        open_question(
            f"{path}: image {id}", entry, f"coco_captions/{split}/{id:012d}", split, image,
            asked="asked", reply="caption", medium="image",
        )
        for id, image, entry in pairs
    ]  # fmt: skip
