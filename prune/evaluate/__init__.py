"""Answers, accuracy and what can be said about differences between them."""
