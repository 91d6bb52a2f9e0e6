"""Small pieces that several tests use."""

SAMPLE = {
    "id": "a",
    "video": "clips/a.mp4",
    "question": "Which colour?",
    "options": ["red", "blue"],
    "answer": "red",
    "task": "colour",
}
