"""What `launch.evaluate` scores: a test set with true masks, and the masks of a run or of any other program."""
