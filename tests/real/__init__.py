"""Tests with real vocabularies and processors, in an environment that has torchvision."""
