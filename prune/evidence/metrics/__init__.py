"""Scores of an explanation, a file a question."""
