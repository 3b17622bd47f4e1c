"""Sweeps: the runs of a config, their training side by side, and the files that they leave."""
