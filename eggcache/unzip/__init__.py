"""Zipped eggs into directories of the same name, and back."""
