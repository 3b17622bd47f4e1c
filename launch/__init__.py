"""The front doors: commands that tie data sets to the library."""
