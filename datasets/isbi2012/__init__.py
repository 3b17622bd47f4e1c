"""TFDS builder of `isbi2012`, see README.md."""
