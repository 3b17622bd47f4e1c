"""Parts of the commands: arguments, configs, data sets, devices, progress, errors in one line."""
