"""TFDS builder of `dsb2018`, see README.md."""
