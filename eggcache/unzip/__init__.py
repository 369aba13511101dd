"""Eggs turned into directories, and back."""
