"""TFDS builder of `isic2018`, see README.md."""
