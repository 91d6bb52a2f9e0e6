"""Servers of others that run a plan; nothing here is imported by `import prune`."""
