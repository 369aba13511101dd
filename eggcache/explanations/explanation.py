"""What the code of a finding means, in the words that pages and `eggcache explain` have."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False  # as in freshness: what explains a finding is nothing to wait for
if TYPE_CHECKING:
    from collections.abc import Iterator


class Explanation(namedtuple("Explanation", ("code", "means", "happens", "remedy"))):
    """What an administrator wants to know about a finding."""

    __slots__ = ()
    code: str  # stable: scripts may match on it
    means: str
    happens: str
    remedy: str

    def lines(self) -> Iterator[str]:
        """The explanation as an entry of a list in reStructuredText."""
        yield f"``{self.code}``"
        yield f"    {self.means}"
        yield f"    *What happens:* {self.happens}"
        yield f"    *What to do:* {self.remedy}"
