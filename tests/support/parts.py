"""Parts that a machine may lack: a test without one is skipped, and fails where CI is set."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

import pytest

from support import deployment
from support.deployment import Deployment


def missing(reason: str) -> NoReturn:
    """Skip for a part that this machine lacks; with CI set everything has to be there, and it is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"CI is set, and {reason}", pytrace=False)
    pytest.skip(reason)


def built(build: Callable[[], Deployment]) -> Deployment:
    try:
        return build()
    except deployment.MissingInterpreter as error:
        missing(str(error))
