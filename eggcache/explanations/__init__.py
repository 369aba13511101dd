"""Every finding by its stable code: what it means, what happens, what to do. Each module has those of one subject.

docs/reference/findings.rst is made from this by scripts/explanations, and `eggcache explain` prints it. A test keeps
the source, where findings are made, this registry and the page in step.
"""

from __future__ import annotations

from collections.abc import Iterator

from eggcache.explanations.cache import CACHE
from eggcache.explanations.cache_location import CACHE_LOCATION
from eggcache.explanations.configuration import APPLICATION
from eggcache.explanations.eggs import EGGS
from eggcache.explanations.explanation import Explanation
from eggcache.explanations.imports import IMPORTS
from eggcache.explanations.servers import SERVERS
from eggcache.explanations.tree import TREE
from eggcache.explanations.wheels import WHEELS

SECTIONS = (
    ("The tree", TREE),
    ("Eggs that no cache can serve, and damaged ones", EGGS),
    ("The cache", CACHE),
    ("Wheels", WHEELS),
    ("Imports", IMPORTS),
    ("Where the cache lies", CACHE_LOCATION),
    ("Servers that run", SERVERS),
    ("The application and Apache's configuration", APPLICATION),
)


def by_code() -> dict[str, Explanation]:
    """:returns: every explanation, by the code of its finding"""
    return {explanation.code: explanation for _, section in SECTIONS for explanation in section}


def reference() -> Iterator[str]:
    """:returns: the lines of docs/reference/findings.rst, without its head: every finding, with a label for links"""
    for title, section in SECTIONS:
        yield from ("", title, "-" * len(title), "")
        for explanation in section:
            yield from (f".. _{explanation.code}:", "", *explanation.lines(), "")
