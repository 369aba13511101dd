"""`python -m eggcache`."""

import sys

from eggcache.cli import main

if __name__ == "__main__":
    sys.exit(main())
