"""TFDS builder of `folder`, see README.md."""
