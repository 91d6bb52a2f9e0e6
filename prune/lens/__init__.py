"""Lenses on one dense run: states read as words, answers by layer, attention maps."""
