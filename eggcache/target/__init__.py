"""The Python whose eggs are meant: finding it, running scripts in it, and reading its answers."""
