"""What the code of a finding means, in the words that pages and `eggcache explain` have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """What an administrator wants to know about a finding."""

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
