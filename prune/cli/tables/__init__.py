"""Tables and lines that the commands print, one file per subject."""
