"""Prompt layout: roles of tokens, pathways and reach tables, and the edge count."""
