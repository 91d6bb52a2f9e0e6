"""Append-only run journals, their split over processes, and progress."""
