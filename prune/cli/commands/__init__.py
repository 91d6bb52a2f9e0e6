"""The sub-commands: each parses, calls one stage, and prints what came out."""
