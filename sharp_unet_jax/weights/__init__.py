"""Pretrained weights: read safely from files of others, and from runs of this project."""
