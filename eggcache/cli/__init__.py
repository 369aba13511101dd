"""The terminal: what may be said, what is printed, and the exit status."""
