"""--json: what every command prints is what eggcache/schema.json says, no field more and none less."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.deployment import Deployment
from support.judge import eggcache
from support.schema import SCHEMA, VALIDATOR
from support.sites import Site

from eggcache.cli import main


def checked(*arguments: str | Path, statuses: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """What a command prints with --json, which has to be valid; and by the schema of that command alone."""
    result = eggcache(*arguments, "--json")
    assert result.returncode in statuses, result.stderr
    value = json.loads(result.stdout)
    name = value["command"] if value["command"] in ("tree", "status", "wrapper", "explain") else "report"
    jsonschema.Draft202012Validator({**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{name}"}]}).validate(value)
    VALIDATOR.validate(value)
    assert isinstance(value, dict)
    return value


def test_the_schema_is_one() -> None:
    """It is a schema of JSON Schema 2020-12, and every object in it says all of its fields."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for name, part in SCHEMA["$defs"].items():
        if part.get("type") == "object":
            assert part["additionalProperties"] is False, name
            assert part["required"] == list(part["properties"]), name


def test_json_of_every_command_follows_the_schema(site: Site) -> None:
    """Each command that has --json prints what the schema says, when there is something to do and when there is not."""
    seen = set()
    common = ["--all", "--path", site.eggs, "--python", site.python]
    runs: list[tuple[list[str | Path], tuple[int, ...]]] = [
        (["tree", *common], (0,)),
        (["status", site.cache], (3,)),
        (["prepare", site.cache, *common, "--user", "nobody", "-n"], (0,)),
        (["prepare", site.cache, *common, "--user", "nobody"], (0,)),
        (["prepare", site.cache, *common, "--user", "nobody"], (0,)),
        (["tree", *common, "--cache", site.cache], (0,)),
        (["tree", "--reverse", "One", *common[1:]], (0,)),
        (["tree", "--duplicates", *common[1:]], (0,)),
        (["check", *common, "--cache", site.cache, "--user", "nobody"], (0, 3)),
        (["wrapper", site.cache, *common, "--for", "shell", "--user", "nobody"], (0,)),
        (["status", site.cache], (0,)),
        (["unzip-all", *common, "-n"], (3,)),
        (["unzip-all", *site.unzipping, "-n"], (0,)),
        (["wheels", site.cache.parent / "wheels", *common], (0,)),
        (["archive", site.cache.parent / "cache.tar", *common, "--tz", "Europe/Madrid"], (0,)),
        (["explain", "no-cache"], (0,)),
        (["explain"], (0,)),
        (["remove", site.cache, "-n"], (0,)),
        (["remove", site.cache], (0,)),
        (["remove", site.cache], (0,)),
    ]
    for words, statuses in runs:
        seen.add(checked(*words, statuses=statuses)["command"])
        if words[0] == "status" and statuses == (0,):
            os.utime(site.eggs / "One-1.0-py3.11.egg")
            (site.cache / ".eggcache-stage-0123456789abcdef").mkdir()
            checked("status", site.cache, statuses=(3,))
    with_json = {name for name, one in _parsers().items() if "--json" in one}
    assert seen == with_json


def test_json_of_real_trees_follows_the_schema(turbogears1: Deployment, shared_tmp: Path) -> None:
    """So are those of a real tree, with what is missing in it."""
    common = ["--python", turbogears1.python]
    tree = checked("tree", *common, statuses=(5,))
    assert tree["findings"]
    assert checked("prepare", shared_tmp / "cache", *common, "--user", "nobody", "-n", statuses=(5,))["findings"]


def test_what_is_not_documented_is_refused() -> None:
    """The schema can fail: a field more, one less, another word."""
    finding = {"code": "c", "thing": "t", "cause": "w", "remedy": "r", "command": "", "status": 3, "context": []}
    report = {
        "schema": 1, "command": "remove", "directory": "/c", "outcomes": [], "findings": [finding], "notes": [],
        "unchanged": False, "dry_run": False, "digest": None, "owner": None, "processes": [], "outside": [],
        "ignored": [],
        "install": [],
        "zone": None,
        "commands": [],
    }  # fmt: skip
    VALIDATOR.validate(report)
    for wrong in (
        {**report, "new": 1},
        {name: value for name, value in report.items() if name != "notes"},
        {**report, "schema": 2},
        {**report, "command": "tree"},
        {**report, "findings": [{**finding, "new": 1}]},
        {**report, "findings": [{**finding, "status": 6}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(wrong)


def _parsers() -> dict[str, set[str]]:
    """The options of each command."""
    (action,) = (
        action for action in main.parser()._actions if hasattr(action, "choices") and isinstance(action.choices, dict)
    )
    return {name: set(parser._option_string_actions) for name, parser in dict(action.choices or {}).items()}
