"""packaged: files of eggcache's own that are no modules."""

from __future__ import annotations

import pytest

from eggcache.errors import EggcacheError
from eggcache.system import package_data


def test_part_that_an_installation_lacks() -> None:
    """Half an installation is an error that names the file, and no traceback; what is there is read as it is."""
    assert package_data.read("schema.json").startswith(b"{")
    with pytest.raises(EggcacheError, match=r"target/inside/nothing\.py: it is missing from this installation"):
        package_data.read("target/inside/nothing.py")
