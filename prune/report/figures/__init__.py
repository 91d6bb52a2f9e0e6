"""Figures in one style, one file per figure."""
