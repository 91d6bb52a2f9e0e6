"""A plan as a press of kvpress, which asks for a transformers of its own."""
