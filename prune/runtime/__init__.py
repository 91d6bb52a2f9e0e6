"""Execution of a model under a plan."""
