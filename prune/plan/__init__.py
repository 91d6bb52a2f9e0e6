"""Plans: which edges to keep, in which layers. Needs neither a model nor a GPU."""
