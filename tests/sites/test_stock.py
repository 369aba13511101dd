"""The tests' own Apache: none of them sees what this machine's was made to be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import stock
from support.judge import environment
from support.parts import missing

from eggcache.servers import apache, apache_configuration, declared_environments


@pytest.fixture(autouse=True)
def isolated() -> None:
    if os.geteuid() != 0:
        missing("only root can have mounts of its own")
    if not os.path.exists("/usr/sbin/apache2ctl"):
        missing("Debian's apache2 is not installed")


def test_it_is_debians_as_installed() -> None:
    """The configuration that is found without being named is the tests' own, whose module for Python is not loaded and
    which nobody's site, variables or init script change; it answers root and anybody else."""
    assert Path("/etc/apache2/apache2.conf").read_text() == stock.CONFIGURATION
    host = apache.read()
    assert (host.user, host.group, host.pid_file) == ("www-data", "www-data", "/var/run/apache2/apache2.pid")
    told = apache_configuration.read(host)
    assert not told.problem
    assert not told.embedded
    assert list(declared_environments.declared(None, apache.envvars_of(None))) == []
    assert not {"APACHE_CONFDIR", "APACHE_ENVVARS", "PYTHON_EGG_CACHE"} & {*os.environ, *environment()}


def test_it_is_nobody_elses() -> None:
    """What tests change of it is gone with them: it lies in the session's directory, and not on the machine's disk."""
    places = [line.split()[3:5] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    session = os.path.basename(os.environ["EGGCACHE_TESTS"])
    for place in ("/etc/apache2", "/run/apache2", "/var/log/apache2"):
        assert [session in root for root, where in places if where == place][-1:] == [True], place


def test_what_runs_elsewhere_is_not_seen() -> None:
    """The first process that tests see is this session's own: no Apache but theirs runs there."""
    assert b"pytest" in Path("/proc/1/cmdline").read_bytes()
