"""Reading and writing that survives full disks, kills and hostile files."""
