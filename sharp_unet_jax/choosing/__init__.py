"""Choices after training: the rule of masks and the mean of networks, taken only on inner validation images."""
