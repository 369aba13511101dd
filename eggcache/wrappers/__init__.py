"""The text that starts a server with the cache."""
