"""Time and memory on this machine, for a dense and a pruned model on the same prompts."""
