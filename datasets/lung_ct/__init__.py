"""TFDS builder of `lung_ct`, see README.md."""
