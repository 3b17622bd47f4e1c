"""TFDS builder of `covid19_ct`, see README.md."""
