"""`python -m eggcache`."""

from eggcache.cli import main

if __name__ == "__main__":
    main.program()
