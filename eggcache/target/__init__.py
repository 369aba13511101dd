"""The Python whose eggs are meant: found, asked, and its answers read as a stranger's."""
