"""`python -m eggcache`."""

from eggcache.cli import entry_point

if __name__ == "__main__":
    entry_point.program()
