"""The two sides that `launch.evaluate` compares: a test set with true masks, and masks that any program wrote."""
