"""Evidence: which parts of a video a model's answer rests on (EAGLE, arXiv 2509.22496)."""
