"""Eggs as wheels: their files, their metadata, and the directory that holds them."""
