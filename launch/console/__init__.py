"""What the commands share: arguments, configs, data sets, progress, errors in one line, the devices."""
