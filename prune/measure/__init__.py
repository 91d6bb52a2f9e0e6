"""What a plan makes of a model's answers: while it is searched, and on held-out samples."""
