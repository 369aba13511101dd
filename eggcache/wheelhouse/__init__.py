"""Eggs as wheels: the files of each, its metadata, and the directory of the wheels."""
