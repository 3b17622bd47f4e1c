"""Advice for a data set: its profile, the memory of a training step, and settings to start from."""
