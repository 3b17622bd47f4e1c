"""Data for runs: arrays, resizing, folds, augmentation, batches, tiles."""
