"""A receipt that somebody, or a disk, changed: whatever is in it, it is whole, or there is none."""

from __future__ import annotations

import argparse
import copy
import json
import operator
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import jsonschema
import pytest
from support.judge import as_json, eggcache
from support.schema import SCHEMA
from support.sites import Site, write_egg

from eggcache.cache import freshness, groups_and_time_zones, inventory, receipt, removal
from eggcache.cache.preparation import prepare
from eggcache.cli import console
from eggcache.cli.render import report
from eggcache.cli.verbs import status
from eggcache.errors import NotPermitted
from eggcache.model import Limits, Run
from eggcache.proof import comparison
from eggcache.system import accounts
from eggcache.target.command_lines import Prepare
from eggcache.target.interpreter import EVERYTHING, Roots, Target

NAME = ".eggcache.json"
STATUS = jsonschema.Draft202012Validator({**SCHEMA, "oneOf": [{"$ref": "#/$defs/status"}]})
DEEP: list[Any] = []
for _ in range(400):
    DEEP = [DEEP]
# Each of JSON's types, and of each what may be too much: numbers that no clock, user or file has, texts that no path is
VALUES: list[Any] = [
    None, True, False, 0, -1, 2**31, 2**40, 2**63 - 1, 2**64, -(2**70), 10**400, 0.5, 2.0, float("nan"), float("inf"),
    "", "x", "..", "../x-tmp", "\0", "\ud800", "a\nb", [], [[]], [1], ["x"], [None] * 7, [1] * 7,
    {}, {"": 1}, {"x": {}}, {"\0": None}, DEEP,
]  # fmt: skip


NAMES = ("", "x", "..", "../x-tmp", "\0", "[]", "[1, [], []]", '["/p", [], [7]]', "[" * 9000)


def paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a JSON document; in what is long, to the first and the last ones."""
    yield above
    steps = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    for step in steps if len(steps) < 9 else steps[:1] + steps[-1:]:
        yield from paths(value[step], (*above, step))


def mutated(document: Any, path: tuple[Any, ...], change: Callable[[Any, Any], object]) -> Any:
    """A copy in which `change` did something to what the last step of `path` is in."""
    document = copy.deepcopy(document)
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    change(parent, path[-1])
    return document


def mutations(document: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value exchanged or gone, and each that has a name with another one, or with another one beside it."""
    for value in VALUES:
        yield (), value
    for path in paths(document):
        for value in VALUES if path else ():
            yield path, mutated(document, path, lambda parent, step: operator.setitem(parent, step, value))  # noqa: B023
        if path:
            yield path, mutated(document, path, operator.delitem)
        for name in NAMES if path and isinstance(path[-1], str) else ():
            yield path, mutated(document, path, lambda parent, step: parent.update({name: parent[step]}))  # noqa: B023
            yield path, mutated(document, path, lambda parent, step: parent.update({name: parent.pop(step)}))  # noqa: B023


@pytest.fixture
def prepared(site: Site) -> Site:
    """A cache with the receipt of two prepares, one with a finding, and a directory in it that is somebody's."""
    private = write_egg(site.eggs / "Odd-1.0-py3.11.egg", {"odd.py": ""})
    os.chown(private, site.account.pw_uid, 0)
    private.chmod(0o400)
    site.prepare("--tz", "UTC", "--limit", "ratio=300")
    eggcache("prepare", site.cache, "One", *site.options[1:])
    (site.cache / "precious-tmp").mkdir()
    return site


def use(site: Site, descriptor: int, key: str, options: dict[str, Any]) -> None:
    """All that commands do with a receipt, but for starting the target."""
    directory, quiet = str(site.cache), argparse.Namespace(lenient=True, quiet=True, verbose=1)
    known = receipt.read(descriptor)
    assert receipt.from_json(json.loads(receipt.dump(known))) == known
    held = freshness.current_receipt(directory, key, options)
    if held is not None:
        console.silent(((finding["code"], finding["status"]) for finding in held["entries"][key]["findings"]), quiet)
    cache_status = inventory.status(directory)
    assert list(status.lines(cache_status, verbose=True))
    if known.entries:
        told = {"schema": 1, "command": "status", "source": "receipt", **report.json_value(asdict(cache_status))}
        STATUS.validate(json.loads(json.dumps(told)))
    else:
        assert [finding.code for finding in cache_status.findings if finding.code == "cache-stale"] == ["cache-stale"]
        assert "no receipt" in cache_status.findings[0].cause
    for other, entry in known.entries.items():
        assert "precious-tmp" not in known.prunable(other, entry.names)
        assert all(os.path.basename(name) == name for name in known.prunable(other, entry.names))
        assert console.conclude(entry.findings, quiet) in (0, 1, 3, 4, 5)
        known.forgettable(other)
    target = Target(str(site.python), [str(site.eggs)], accounts.lookup(site.account.pw_name))
    comparison.strangers(known, sorted(os.listdir(descriptor)), Prepare(directory, target, EVERYTHING), [])
    groups_and_time_zones.zones_of(known, ["One-1.0-py3.11.egg-tmp"])
    with pytest.raises(NotPermitted, match=r"precious-tmp: no prepare"):
        removal.remove(directory, Run(dry_run=True))


def test_how_it_was_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command and the function ask for the same prepare where they are asked for the same, so that neither has to
    do what the other did; whatever differs in the target, its roots or the limits is another one."""
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    account = accounts.lookup(site.account.pw_name)
    target = Target(str(site.python), [str(site.eggs)], account, account.gid, "UTC")
    cache, one, every = str(site.cache), Roots(["One"]), Roots([], strict=True)

    def stands(target: Target, roots: Roots, **limits: int) -> bool:
        return bool(
            freshness.current_receipt(cache, freshness.key(target, roots), freshness.options_of(target, roots, limits))
        )

    site.prepare("--tz", "UTC", "--limit", "ratio=300", "--limit", "entries=65535")
    assert stands(target, every, ratio=300, member=freshness.LIMITS["member"])
    others = {"paths": (), "account": account._replace(groups=(0,)), "group": None, "timezone": None}
    assert [name for name, other in others.items() if stands(target._replace(**{name: other}), every, ratio=300)] == []
    assert not stands(target, every)
    assert not stands(target, EVERYTHING, ratio=300)  # of which other things are told
    assert not stands(target, one, ratio=300)
    assert not prepare(cache, target, one, Run(Limits(ratio=300))).unchanged
    assert prepare(cache, target, one, Run(Limits(ratio=300))).unchanged
    result = eggcache("prepare", cache, "One", *site.options[1:], "--tz", "UTC", "--limit", "ratio=300", "--json")
    assert as_json(result)["unchanged"]


def test_every_place_and_every_type(prepared: Site) -> None:
    """Whatever stands wherever in a receipt, no command that reads it ends in anything but its own words; what is not
    whole is no receipt; and nothing is taken for eggcache's own that is not."""
    file = prepared.cache / NAME
    document = json.loads(file.read_text())
    descriptor = os.open(prepared.cache, os.O_RDONLY)
    key = next(key for key in document["entries"] if key.endswith("[]]"))
    count = 0
    try:
        use(prepared, descriptor, key, document["entries"][key]["options"])
        assert receipt.read(descriptor).entries
        for path, other in mutations(document):
            file.write_text(json.dumps(other))
            try:
                use(prepared, descriptor, key, document["entries"][key]["options"])
            except Exception as error:
                raise AssertionError((path, str(other)[-300:])) from error
            count += 1
    finally:
        os.close(descriptor)
    assert count > 4000


def test_receipt_of_an_earlier_build(site: Site) -> None:
    """An entry that does not say how its tree was asked for is of what was declared: it stands for nothing that is
    asked for today, is renewed in its place, and what it has extracted is kept."""
    one = ["One", *site.options[1:]]
    assert eggcache("prepare", site.cache, *one).returncode == 0
    file = site.cache / NAME
    document = json.loads(file.read_text())
    for entry in document["entries"].values():
        del entry["options"]["strict"], entry["outside"]
    file.write_text(json.dumps(document))
    (before,) = inventory.status(str(site.cache)).prepares
    assert (before.strict, " --strict-tree One" in before.command) == (True, True)
    result = as_json(eggcache("prepare", site.cache, *one, "--json"))
    assert (result["unchanged"], [outcome["action"] for outcome in result["outcomes"]]) == (False, ["kept"])
    (after,) = inventory.status(str(site.cache)).prepares
    assert (after.strict, after.command.endswith(" One")) == (False, True)


def test_receipt_of_the_first_release(prepared: Site) -> None:
    """A receipt of 0.1.0, whose remedies are texts, is understood and not changed by that: whom its cache serves keeps
    it, and it is renewed in its place."""
    file = prepared.cache / NAME
    document = json.loads(file.read_text())
    count = 0
    for entry in document["entries"].values():
        del entry["options"]["strict"], entry["outside"]
        for finding in entry["findings"]:
            finding["remedy"], count = finding["remedy"][0], count + 1
    assert count
    file.write_text(json.dumps(document))
    known = receipt.from_json(document)
    assert json.loads(file.read_text()) == document
    assert known.entries.keys() == document["entries"].keys()
    assert all(finding.remedy.text for entry in known.entries.values() for finding in entry.findings)
    assert receipt.from_json(json.loads(receipt.dump(known))) == known
    refused = prepared.prepare("--tz", "UTC", "--user", "daemon", "--group", "daemon")
    assert (refused.returncode, "it is prepared for nobody" in refused.stderr) == (4, True)
    renewed = as_json(prepared.prepare("--tz", "UTC", "--limit", "ratio=300", "--json"))
    assert (renewed["unchanged"], {outcome["action"] for outcome in renewed["outcomes"]}) == (False, {"kept"})


def test_what_is_outside_is_kept(site: Site) -> None:
    """What is zipped on the path and outside of the tree is told by the first prepare, and by one with nothing to do;
    the declared tree is a tree of its own. Everything is one entry, with `--all` and without."""
    for more in ((), ("--strict-tree",)):
        for unchanged in (False, True):
            result = as_json(eggcache("prepare", site.cache, "One", *more, *site.options[1:], "--json"))
            assert (result["unchanged"], result["outside"]) == (unchanged, [str(site.eggs / "Two-1.0-py3.11.egg")])
            told = "Two-1.0-py3.11.egg: a zipped egg on the path, outside of the tree; "
            assert [note.startswith(told) for note in result["notes"]] == [True] * (not unchanged)
    assert as_json(eggcache("prepare", site.cache, *site.options[1:], "--json"))["outcomes"][1]["action"] == "made"
    for words in (site.options, site.options[1:], site.options):
        result = as_json(eggcache("prepare", site.cache, *words, "--json"))
        assert {outcome["action"] for outcome in result["outcomes"]} == {"kept"}
        prepares = inventory.status(str(site.cache)).prepares
        assert len(prepares) == 3
        assert [prepare.strict for prepare in prepares if not prepare.requirements] == [words == site.options]
