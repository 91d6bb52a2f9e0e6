"""LongVideoBench (arXiv 2407.15754): `lvb_val.json` and `videos/`; the test split is unlabelled."""

from pathlib import Path

from prune.datasets.layout import entries, question
from prune.inputs.samples import Sample


def read(folder: Path) -> list[Sample]:
    """Every validation question; its task is the category (`O2E`, `O3O`, `SOS`, ...)."""
    return [
        question(
            where,
            entry,
            f"longvideobench/{entry.get('id', number)}",
            str(entry.get("question_category")),
            folder / "videos" / str(entry.get("video_path")),
            answer="correct_choice",
        )
        for number, (where, entry) in enumerate(entries(folder / "lvb_val.json"))
    ]
