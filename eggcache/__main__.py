"""`python -m eggcache`."""

from eggcache import cli

if __name__ == "__main__":
    cli.program()
