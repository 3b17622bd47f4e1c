"""What suits a data set: its profile, the memory a training step needs, and settings to start from."""
