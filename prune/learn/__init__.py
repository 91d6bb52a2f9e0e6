"""What is learnt by gradient: gates that rank, and weights that heal."""
