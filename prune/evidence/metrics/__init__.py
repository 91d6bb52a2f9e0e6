"""Scores of an explanation, one file per score."""
