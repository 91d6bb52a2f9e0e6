"""Running a model under a plan."""
