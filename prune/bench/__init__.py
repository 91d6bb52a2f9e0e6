"""Time and memory on this machine, dense and pruned in turn on the same prompts."""
