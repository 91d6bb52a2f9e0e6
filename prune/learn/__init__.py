"""Learning by gradient: gates that rank pathways, and weights that heal."""
