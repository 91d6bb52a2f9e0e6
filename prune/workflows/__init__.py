"""Workflows: one function for each command, callable from Python."""
