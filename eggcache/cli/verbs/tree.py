"""The command `tree`, in all its forms.

What is needed after the target has been asked is imported while the target works.
"""

from __future__ import annotations

from eggcache.cli import arguments
from eggcache.errors import UsageError
from eggcache.target import launch
from eggcache.target.interpreter import EVERYTHING, Roots

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> int:
    """Print what `options` ask for, and return the exit status."""
    arguments.doubt(options)
    roots = arguments.roots(options)
    if options.reverse and (options.all or options.duplicates or not options.requirements):
        raise UsageError("--reverse", "needs to know what is looked for", "eggcache tree --reverse NAME")
    if options.duplicates and (options.requirements or options.depth is not None):
        raise UsageError("--duplicates", "it looks at the whole path, and there is no tree of it", "name it alone")
    target = arguments.owner_target(options)
    asked = Roots([], strict=True) if options.reverse else EVERYTHING if options.duplicates else roots
    with launch.probe(target, asked, related=options.reverse) as launched:
        from eggcache.cli import tree_forms

        return tree_forms.tell(options, target, asked, launched)
