"""The layout of prompts: roles of tokens, pathways, reach tables and the edge count."""
