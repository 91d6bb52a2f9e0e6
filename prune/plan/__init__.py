"""Plans: which edges to keep in which layers. They need neither a model nor a GPU."""
