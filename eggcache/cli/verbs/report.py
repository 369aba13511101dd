"""The command `report`: a page of this host, or of many."""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from eggcache.cache import inventory
from eggcache.cli import console
from eggcache.cli.render import hosts_page, site_page
from eggcache.cli.verbs import check
from eggcache.errors import EggcacheError, UsageError, of_disk
from eggcache.servers import apache, application_servers, environment_variables
from eggcache.system import files, staging

_SILENT = ("its file is empty: check said nothing there", "run it there")  # of a host that did not answer
_OTHER = ("its file is not what check --json writes", "see what is in it, and run check there again")
_FIELDS = {"code": str, "thing": str, "cause": str, "remedy": str, "command": str, "status": int}


def run(options: argparse.Namespace) -> int:
    """Print the page, or write it to a file; the exit status is 0 when that is done, whatever was found."""
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    hosts = [word for word in options.requirements if word.endswith(".json")]
    if hosts and len(hosts) < len(options.requirements):
        raise UsageError("report", "a page is of this host, or of files that check --json wrote", "name one of both")
    if options.output and any(_is_same(host, options.output) for host in hosts):
        raise UsageError(f"-o {options.output}", "the page would replace what check said", "name another file")
    if not options.output and not options.quiet and sys.stdout.isatty():
        raise UsageError("report", "its page is for a browser, and not for a terminal", "name a file: -o report.html")
    page = hosts_page.render(_read(hosts), when) if hosts else _of_this_host(options, when)
    data = page.encode("utf-8", "backslashreplace")  # a name may be of bytes that no encoding has
    if options.output:
        _write(os.path.abspath(options.output), data)
        console.warn(f"{os.path.abspath(options.output)}: written", options)
    elif not options.quiet:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
    return 0


def _is_same(path: str, other: str) -> bool:
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def _of_this_host(options: argparse.Namespace, when: str) -> str:
    result, reader, cache, trees = check.proof(options)
    sites = []
    for _, tree in trees:
        prepared: Sequence[bool] = ()
        if cache:
            with suppress(EggcacheError):  # what is wrong with it, a finding says
                prepared = inventory.readiness(cache, tree)
        sizes = dict[str, int]()
        for egg in filter(None, (distribution.egg for distribution in tree.distributions)):
            with suppress(OSError):
                sizes[egg] = os.stat(egg).st_size
        sites.append(site_page.Site(tree, prepared, sizes))
    host = apache.read(options.apachectl)
    server: dict[str, object] = {
        "Apache's control program": host.apachectl or "there is no Apache on this host",
        "user and group": f"{host.user or 'unknown'}, {host.group or 'unknown'}",
        "unit of systemd's": host.unit.name if host.unit else "none",
        "a /tmp of its own": {True: "yes", False: "no", None: "unknown"}[host.private_tmp],
    }
    for target, tree in trees:
        version = tree.interpreter.version
        pid_file = options.pid_file and os.path.abspath(options.pid_file)
        environments = [*environment_variables.running(target.account, version, pid_file)]
        environments += [worker.environment for worker in application_servers.running(target)]
        for process in environments:
            settings = (f"{name}={process.values.get(name, 'not set')}" for name in ("PYTHON_EGG_CACHE", "TZ"))
            server[process.thing] = ", ".join(settings).replace("=not set", " not set")
    if len(server) == 4:
        server["processes"] = f"none that runs this Python as {reader}, as far as may be seen"
    return site_page.render(result, sites, server, host=os.uname().nodename, reader=reader, when=when)


def _read(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What check said on each host, by the names of the files. A file of anything else is a row that says so. Raises
    UsageError where none has anything of the kind."""
    hosts, refused = {}, list[str]()
    for name in names:
        if not os.path.isfile(name):
            raise UsageError(name, "there is no such file", "name what check --json wrote, one for each host")
        if not os.access(name, os.R_OK):
            raise UsageError(name, "it cannot be read", "let this user read it, or name the others alone")
        host = os.path.basename(name)[: -len(".json")]
        host = name if host in hosts else host
        if os.path.getsize(name) == 0:
            hosts[host] = _lacking(host, _SILENT)
            continue
        try:
            answer = json.loads(files.beginning(name))
            valid = answer["schema"] == 1 and answer["command"] == "check" and isinstance(answer["outcomes"], list)
            valid = valid and isinstance(answer["directory"], (str, type(None)))
            for finding in answer["findings"]:
                valid = valid and all(type(finding[field]) is kind for field, kind in _FIELDS.items())
                valid = valid and finding["status"] in site_page.HARM
        except (ValueError, TypeError, KeyError, RecursionError):
            valid = False
        hosts[host] = answer if valid else _lacking(host, _OTHER)
        refused += [] if valid else [name]
    if len(refused) == len(names):
        raise UsageError(refused[0], "it is not what check --json writes", "name one of its files for each host")
    return hosts


def _lacking(host: str, why: tuple[str, str]) -> dict[str, Any]:
    cause, remedy = why
    finding = {"code": "", "thing": host, "cause": cause, "remedy": remedy, "command": "", "status": 1}
    return {"outcomes": [], "directory": None, "findings": [finding]}


def _write(path: str, data: bytes) -> None:
    """Put the page at `path`, whole or not at all."""
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
        raise UsageError(f"-o {path}", "it is no regular file", "name a file, or leave out -o to print the page")
    directory, name = os.path.split(path)
    try:
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with files.closing(parent), staging.unnamed(parent, name) as stream:
            stream.write(data)
            if os.path.exists(path):  # who may read it stays
                was = os.stat(path)
                os.fchown(stream.fileno(), was.st_uid, was.st_gid)
                os.fchmod(stream.fileno(), stat.S_IMODE(was.st_mode) & 0o644)
            else:
                os.fchmod(stream.fileno(), files.mode_with_umask(0o644))
    except OSError as error:
        raise of_disk(path, "the page cannot be written", error) from error
