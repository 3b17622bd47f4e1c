"""TFDS builder of `phantom`, see README.md."""
