"""`tiny`: a small real VideoLLM and its benchmark of moving shapes, included in the package."""
