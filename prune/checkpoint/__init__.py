"""Model folders that prune writes and reads: whole or not at all, and safe to open."""
