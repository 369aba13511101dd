"""The text that starts a server with the cache, and the file that holds it."""
