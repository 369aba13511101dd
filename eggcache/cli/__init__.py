"""The terminal: the command line, its output, and the exit status."""
