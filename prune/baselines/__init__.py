"""Baselines compared with a plan at equal cost, one file per baseline (`baseline.Baseline`)."""
