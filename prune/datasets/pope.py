"""POPE (arXiv 2305.10355) and RePOPE (arXiv 2504.15707): yes-or-no questions about images.

`*.json` holds one question per line, `{"question_id", "image", "text", "label"}`; images (COCO's
`val2014`) are beside it or in a folder `images`.
"""

import json
from pathlib import Path

from prune.datasets.layout import question
from prune.errors import BadInputError
from prune.inputs.samples import Sample

OPTIONS = ["Yes", "No"]


def read(folder: Path) -> list[Sample]:
    """Every question of every file; its task is the file's name, such as `coco_pope_random`."""
    images = folder / "images" if (folder / "images").is_dir() else folder
    samples = []
    for path in sorted(folder.glob("*.json")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            where = f"{path}:{number}"
            try:
                row = json.loads(line)
                answer = str(row["label"]).capitalize()
                entry = {"question": row["text"], "options": OPTIONS, "answer": answer}
                video = images / str(row["image"])
            except (ValueError, KeyError, TypeError) as error:
                raise BadInputError(f"{where}: not a question: {error!r}") from None
            id = f"pope/{path.stem}/{number:05d}"
            samples.append(
                question(where, entry, id, path.stem, video, options="options", medium="image")
            )
    if not samples:
        raise BadInputError(f"{folder}: no *.json of POPE's questions in it")
    return samples
