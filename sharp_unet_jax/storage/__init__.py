"""Files: written atomically, locked, and named once."""
