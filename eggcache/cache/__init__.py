"""A prepared egg cache: filled, recorded in its receipt, looked at, taken away."""
