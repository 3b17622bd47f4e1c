"""Training of a run: the network, the compiled step and epoch, and the decisions between epochs."""
