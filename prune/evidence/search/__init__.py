"""Orderings of regions, a search a file; `SEARCHES` names them."""
