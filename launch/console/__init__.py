"""What the commands share: configs, paths, progress, errors in one line, the machine."""
