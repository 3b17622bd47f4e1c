"""Sweeps: which runs there are, how they are made side by side, and what they leave."""
