"""TFDS builders of the data sets: they know file formats, and no models."""
