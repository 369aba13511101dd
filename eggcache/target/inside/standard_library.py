# Runs INSIDE a target, in front of preamble.py: with -S, a virtualenv for Python 2 does not find its standard library.
import sys

sys.path.extend(REQUEST["library"])
import encodings  # it was looked for at the start, in vain, and registers itself
