"""Data for runs: arrays, resizing, folds, augmentation, batches, crops, tiles."""
