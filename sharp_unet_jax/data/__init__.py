"""Data on its way to a run: resizing, the resident arrays, folds."""
