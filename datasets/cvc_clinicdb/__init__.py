"""TFDS builder of `cvc_clinicdb`, see README.md."""
