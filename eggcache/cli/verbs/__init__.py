"""The commands, a module each: `add_options` has what a command line may say, and `run` does it."""
