"""`python -m eggcache`."""

from eggcache.cli import start

if __name__ == "__main__":
    start.program()
