"""VCGBench (Video-ChatGPT, arXiv 2306.05424): `Benchmarking_QA/*.json` and `Test_Videos/`."""

from pathlib import Path

from prune.datasets.layout import clip_named, entries, open_question
from prune.inputs.samples import Sample

ASKED = {"generic_qa": ("Q",), "temporal_qa": ("Q",), "consistency_qa": ("Q1", "Q2")}
"""The files, and the fields of an entry that are questions with the answer `A`."""

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")


def read(folder: Path) -> list[Sample]:
    """Every question with its answer as the reply; its task is the file's name.

    The two questions of an entry of `consistency_qa` are two samples about one video.
    """
    samples = []
    for task, fields in ASKED.items():
        for number, (where, row) in enumerate(entries(folder / "Benchmarking_QA" / f"{task}.json")):
            video = clip_named(folder / "Test_Videos", str(row.get("video_name")), SUFFIXES)
            for field in fields:
                name = f"vcgbench/{task}/{number:05d}"
                id = name if len(fields) == 1 else f"{name}/{field}"
                samples.append(open_question(where, row, id, task, video, field, "A"))
    return samples
