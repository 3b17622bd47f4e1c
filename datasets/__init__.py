"""TFDS builders of the data sets, and every file format. Nothing here knows models."""
