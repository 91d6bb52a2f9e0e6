"""Decoding of videos and images in a worker process: what a player shows, by its time stamps."""
