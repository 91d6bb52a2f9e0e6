"""Input and output that survive full disks, kills and hostile files."""
