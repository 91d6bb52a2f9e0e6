"""`tiny`: a small real VideoLLM and its benchmark of moving shapes, both part of the package."""
