"""The commands, one per file: each parses, calls one workflow, and prints the result."""
