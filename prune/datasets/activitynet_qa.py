"""ActivityNet-QA (arXiv 1906.02467): `dataset/test_q.json`, `dataset/test_a.json`, `videos/`.

The videos are ActivityNet's, named after their YouTube ids: `v_<id>.mp4`, or another container.
"""

from pathlib import Path

from prune.datasets.layout import clip_named, entries, open_question
from prune.errors import BadInputError
from prune.inputs.samples import Sample

TYPES = (
    "motion",
    "spatial_relationship",
    "temporal_relationship",
    "yes_no",
    "color",
    "object",
    "location",
    "number",
    "other",
)
"""The kinds of questions, by the number in the answers' file."""

SUFFIXES = (".mp4", ".mkv", ".webm")


def read(folder: Path) -> list[Sample]:
    """Every test question with its answer as the reply; its task is its kind."""
    path = folder / "dataset" / "test_a.json"
    answers = {row.get("question_id"): (where, row) for where, row in entries(path)}
    samples = []
    for where, row in entries(folder / "dataset" / "test_q.json"):
        id = row.get("question_id")
        if id not in answers:
            raise BadInputError(f"{where}: {path.name} has no answer to question_id {id!r}")
        place, answer = answers[id]
        kind = answer.get("type")
        if type(kind) is not int or not 0 <= kind < len(TYPES):
            raise BadInputError(f"{place}: no kind of question: type {kind!r}")
        video = clip_named(folder / "videos", f"v_{row.get('video_name')}", SUFFIXES)
        entry = {"question": row.get("question"), "answer": answer.get("answer")}
        samples.append(
            open_question(
                where, entry, f"activitynet_qa/{id}", TYPES[kind], video, "question", "answer"
            )
        )
    return samples
