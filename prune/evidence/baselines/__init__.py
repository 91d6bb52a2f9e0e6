"""Other ways to say what mattered, a file each; `BASELINES` names them."""
