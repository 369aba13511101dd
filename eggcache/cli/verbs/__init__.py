"""The commands, a module each: its `run` does what the command is for."""
