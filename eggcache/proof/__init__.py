"""What `check` looks at: the look-ups of the target, and what is around the cache."""
