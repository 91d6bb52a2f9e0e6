"""Figures and pages, drawn from results alone: nothing here loads a model."""
