"""Every figure, a file each, in one style."""
