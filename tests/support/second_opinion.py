"""The verifier of an archive as a second witness: asked of a cache wherever `check` is, it has to say the same.

Which kinds of faults it knows is read off its own script, and what only `check` has a word for off the module that has
these: nobody has to keep a list of what is compared.
"""

from __future__ import annotations

import ast
import os
import pwd
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eggcache.explanations import by_code
from eggcache.proof.archive_verifier import Archived, verifier
from eggcache.system import package_data
from eggcache.target.interpreter import Target
from support.judge import environment
from support.namespaces import entered


def _codes(*names: str) -> set[str]:
    """The codes of findings that are written in these files of eggcache."""
    trees = [ast.parse(package_data.read(name)) for name in names]
    words = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return words & set(by_code())


KNOWN = _codes("target/inside/archive_verifier.py", "target/inside/file_fault.py")
# What an egg has that no cache can serve. Of most, the verifier says what pkg_resources or its import makes of it
UNSERVABLE = _codes("cache/unservable.py") - KNOWN
SYMPTOMS = {"not-served", "native-module-fails", "native-module-empty"} & KNOWN


def agrees(
    findings: Sequence[Mapping[str, Any]],
    python: str | Path,
    cache: Path,
    paths: Sequence[str | Path],
    account: pwd.struct_passwd,
    more: Sequence[str | Path] = (),
    before: str = "",
    env: Mapping[str, str] = {},
) -> None:
    """The verifier says of the `cache` of the eggs in `paths` what check's `findings` are, as far as it knows these: a
    line for each kind and the status 3, or else one line that says how much it has proven. Of what a server has been
    given it knows nothing. It looks as `check` did with the options `more`, a shell command `before`, and `env`; after
    it, since `check` would take it for a server."""
    given = list(zip(more, more[1:]))
    chosen = {str(name): str(value) for name, value in given}
    paths = [*paths, *(value for name, value in given if name == "--path")]
    who = chosen.get("--user", account.pw_name)
    entry = None if who.isdigit() else pwd.getpwnam(who)
    uid, gid = (entry.pw_uid, entry.pw_gid) if entry else (int(who), int(chosen.get("--group", 0)))
    names = [f"{egg.name}-tmp" for path in paths for egg in sorted(Path(path).glob("*.egg"))]
    text = verifier(Archived(str(cache), names, None), Target(str(python), list(map(str, paths))))
    become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", str(python), "-"]
    zone = chosen.get("--tz", env.get("TZ"))
    told = {"PYTHON_EGG_CACHE": str(cache), "LC_ALL": "C.UTF-8", **({} if zone is None else {"TZ": zone})}
    result = subprocess.run(
        entered(before, *become) if before else become, input=text, env=environment(told), cwd="/",
        capture_output=True, check=False,
    )  # fmt: skip
    lines = os.fsdecode(result.stdout).splitlines()
    if result.returncode == 0:
        assert re.fullmatch(r"[\d,]+ files of [\d,]+ eggs?, as .+: all current, nothing to write", lines.pop())
    said = {line.split(": ")[0] for line in lines}
    assert (result.returncode, result.stderr, len(said)) == (3 if said else 0, b"", len(lines)), lines
    codes = {
        finding["code"] for finding in findings if finding["code"] != "time-zone" or finding["thing"] == str(cache)
    }
    own = SYMPTOMS if UNSERVABLE & codes else set()
    assert said - own == (KNOWN & codes) - own, (lines, sorted(codes))
