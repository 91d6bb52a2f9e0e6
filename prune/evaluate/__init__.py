"""Answers, accuracy, and intervals and tests for differences between them."""
