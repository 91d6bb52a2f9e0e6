"""Video-MME (arXiv 2405.21075): `videomme/test-00000-of-00001.parquet` and `data/<videoID>.mp4`."""

import re
from pathlib import Path

from prune.datasets.layout import question
from prune.errors import BadInputError, install_extra
from prune.inputs.prompts import letter
from prune.inputs.samples import Sample

TABLE = "videomme/test-00000-of-00001.parquet"
COLUMNS = ["videoID", "question_id", "task_type", "question", "options", "answer"]
_LETTERED = re.compile(r"[A-Z]\.\s*")


def read(folder: Path) -> list[Sample]:
    """Every question; its task is Video-MME's `task_type`. Subtitles are not read."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError:
        raise BadInputError(
            f"{folder}: Video-MME is a parquet table: {install_extra('eval')} to read it"
        ) from None
    try:
        rows = read_table(folder / TABLE, columns=COLUMNS).to_pylist()
    except (OSError, ArrowException) as error:
        raise BadInputError(f"{folder / TABLE}: cannot read: {error}") from None
    samples = []
    for row in rows:
        where = f"{folder / TABLE}: {row['question_id']}"
        options = [_LETTERED.sub("", option, count=1) for option in row["options"]]
        letters = [letter(i) for i in range(len(options))]
        if row["answer"] not in letters:
            raise BadInputError(f"{where}: the answer {row['answer']!r} is none of {letters}")
        entry = {**row, "options": options, "answer": letters.index(row["answer"])}
        samples.append(
            question(
                where,
                entry,
                f"videomme/{row['question_id']}",
                row["task_type"],
                folder / "data" / f"{row['videoID']}.mp4",
                options="options",
            )
        )
    return samples
