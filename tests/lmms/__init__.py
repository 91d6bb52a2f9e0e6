"""lmms-eval's numbers are those of `prune eval`, in an environment that has lmms-eval."""
