"""Looking inside one dense run: states read as words, answers layer by layer, attention maps."""
