"""`check`: whether a cache serves every file of every egg, and whether anybody else can write to it."""
