"""One training: the network's arithmetic, the compiled step and epoch, and the decisions between epochs."""
