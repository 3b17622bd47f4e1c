"""What suits a data set: its profile, the memory that a training step needs, and settings to start from."""
