"""The text that starts a server with the cache, and the file that the text is written to."""
