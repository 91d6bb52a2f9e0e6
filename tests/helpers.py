"""Small pieces that several tests use."""

from prune.tiny.open_questions import without_options as without_options

SAMPLE = {
    "id": "a",
    "video": "clips/a.mp4",
    "question": "Which colour?",
    "options": ["red", "blue"],
    "answer": "red",
    "task": "colour",
}
