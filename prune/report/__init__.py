"""Figures and pages, drawn from results alone; no model is loaded."""
