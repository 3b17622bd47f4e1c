"""Files: written atomically, locked, named once, and read by their types."""
