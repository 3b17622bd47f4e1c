"""Finished runs in use: probabilities and masks, exported files, explanations."""
