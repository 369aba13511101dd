"""A prepared egg cache: filling it, its receipt, its state, and its removal."""
