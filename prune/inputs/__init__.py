"""What a user gives: data sets, prompts, media and replies."""
