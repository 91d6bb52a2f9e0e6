"""Engines of two families, each beside transformers, that these files share."""
