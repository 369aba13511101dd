"""The JSON Schema of what --json prints."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

import eggcache as package

SCHEMA = json.loads((Path(package.__file__).parent / "schema.json").read_text())


VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
