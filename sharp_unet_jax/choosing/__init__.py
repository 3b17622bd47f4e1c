"""Choices after training: the rule of masks and the mean of networks, taken on inner validation images alone."""
