"""Pretrained weights of others, read safely."""
