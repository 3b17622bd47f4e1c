"""The commands: they bring data sets and the library together."""
