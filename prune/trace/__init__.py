"""Finding the pathways: what an answer loses when edges are knocked out."""
