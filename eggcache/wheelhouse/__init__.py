"""Eggs as wheels."""
