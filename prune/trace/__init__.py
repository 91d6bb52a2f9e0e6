"""Tracing: the effect of knocking out pathways on a model's answers."""
