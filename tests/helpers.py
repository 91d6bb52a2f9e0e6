"""Small pieces that several tests use."""

from dataclasses import replace

from prune.inputs.sample import NO_ANSWER, Sample

SAMPLE = {
    "id": "a",
    "video": "clips/a.mp4",
    "question": "Which colour?",
    "options": ["red", "blue"],
    "answer": "red",
    "task": "colour",
}


def without_options(sample: Sample) -> Sample:
    """The sample as an open question; the true option is its reply."""
    true = sample.options[sample.answer]
    return replace(sample, options=(), answer=NO_ANSWER, reply=true)
