"""Puts the modules of `recipes/tiny` on the path: scenes and questions are asked as there."""

import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tiny"
sys.path.append(str(FOLDER))
