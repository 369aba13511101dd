"""Pre-extract the eggs of a tree into an egg cache."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prepare
short_description: Pre-extract zipped eggs into a locked-down egg cache
version_added: 0.1.0
description:
  - Extracts every zipped egg of a tree into the directory that C(PYTHON_EGG_CACHE) will name, so that Apache's user can
    read it and nobody but root can write it, by C(eggcache prepare).
  - Changed means that the content, the modes or the owner of the directory or of something in it are others than
    before. It is what eggcache reports, and what is found by looking at all of the directory before and afterwards.
options:
  directory:
    description:
      - The egg cache.
    type: path
    required: true
  prune:
    description:
      - Remove what an earlier run extracted and no tree prepared in O(directory) needs any more.
    type: bool
    default: false
  reset:
    description:
      - Move an unsafe O(directory), or somebody else's, aside and build it anew.
    type: bool
    default: false
extends_documentation_fragment:
  - eggcache.eggcache.target
  - eggcache.eggcache.target.runtime
  - eggcache.eggcache.target.wait
  - eggcache.eggcache.target.lenient
attributes:
  check_mode:
    description: Asks eggcache what it would do (C(-n)), which is what it then does.
    support: full
  diff_mode:
    description: Names each egg with what the cache has and would have of it, and the directory's owner and modes.
    support: full
seealso:
  - module: eggcache.eggcache.check
  - module: eggcache.eggcache.wrapper
"""

EXAMPLES = r"""
- name: Prepare the cache of everything on the target's path
  eggcache.eggcache.prepare:
    directory: /var/cache/eggcache
    python: /srv/turbogears/bin/python

- name: Prepare one application's tree, and wait for whoever is at it
  eggcache.eggcache.prepare:
    directory: /var/cache/eggcache
    python: /srv/turbogears/bin/python
    requirements: [myapp]
    prune: true
  register: prepared
  until: not prepared.busy | default(false)
  retries: 5
  delay: 60
"""

RETURN = r"""
directory:
  description: The egg cache, absolute.
  type: str
  returned: when eggcache had a report
digest:
  description:
    - Over the names, sizes, CRCs, mtimes, owners (by number) and modes of all that the tree has in the cache.
    - Two hosts with the same digest have the same content.
  type: str
  returned: when eggcache had a report
outcomes:
  description: What was done, or in check mode would be done, about each egg.
  type: list
  elements: dict
  returned: when eggcache had a report
  contains:
    egg:
      description: The zip file.
      type: str
    into:
      description: The directory that holds its members.
      type: str
    action:
      description: One of C(made), C(replaced), C(kept) and C(removed).
      type: str
    files:
      description: How many files.
      type: int
    size:
      description: Their bytes.
      type: int
findings:
  description: What is wrong with single eggs or requirements, as C(eggcache --json) has it.
  type: list
  elements: dict
  returned: always
exit_status:
  description: The exit status of eggcache.
  type: int
  returned: always
busy:
  description: Whether another run of eggcache was at work for longer than O(wait). The task failed, and can be retried.
  type: bool
  returned: always
cmd:
  description: The command.
  type: list
  elements: str
  returned: always
"""

import os
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.eggcache.eggcache.plugins.module_utils import command

OURS = (".eggcache.json", ".eggcache.lock")  # what eggcache writes for itself says nothing about the content

Listing = dict[str, tuple[int, ...]]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "prune": {"type": "bool", "default": False},
            "reset": {"type": "bool", "default": False},
            **command.TARGET,
            **command.RUNTIME,
            **command.WAIT,
            **command.LENIENT,
        },
        supports_check_mode=True,
    )
    params = module.params
    options = [params["directory"], *command.runtime(params), *command.waiting(params)]
    options += [f"--{name}" for name in ("prune", "reset") if params[name]]
    if module.check_mode:
        options.append("--dry-run")
    before = listing(params["directory"])
    run = command.Run(module, "prepare", *options, writes=True)
    after = listing(params["directory"])
    outcomes = run.report.get("outcomes", [])
    completion = [outcome for outcome in outcomes if outcome["action"] != "kept"]
    had, has = access(before), expected(run.report.get("owner"))
    result = run.result(
        changed=bool(completion) or before != after or (module.check_mode and has is not None and had != has),
        outcomes=outcomes,
        directory=run.report.get("directory"),
        digest=run.report.get("digest"),
        diff=difference(params["directory"], outcomes, had, has),
    )
    command.conclude(module, run, result, run.findings)


def listing(directory: str) -> Listing:
    """Mode, owner, size and mtime of everything in the cache, by its name in it: what makes up its content for those
    who read it."""
    found: Listing = {}
    for top, _, names in os.walk(directory):
        for path in (top, *(os.path.join(top, name) for name in names)):
            name = os.path.relpath(path, directory)
            if name not in OURS:
                info = os.lstat(path)
                whole = (info.st_size, info.st_mtime_ns) if stat.S_ISREG(info.st_mode) else ()
                found[name] = (info.st_mode, info.st_uid, info.st_gid, *whole)
    return found


def access(found: Listing) -> tuple[int, int, int] | None:
    """Mode, owner and group of the directory itself."""
    if "." not in found:
        return None
    mode, uid, gid = found["."][:3]
    return stat.S_IMODE(mode), uid, gid


def expected(owner: dict[str, int] | None) -> tuple[int, int, int] | None:
    """The same, as eggcache reports that it will be."""
    return (owner["directory_mode"], owner["uid"], owner["gid"]) if owner else None


def difference(
    directory: str,
    outcomes: list[dict[str, Any]],
    had: tuple[int, int, int] | None,
    has: tuple[int, int, int] | None,
) -> dict[str, str]:
    """What --diff shows: a line for the directory and one for each egg, before and after."""
    shown = command.one_line(directory)
    sides: tuple[list[str], list[str]] = ([], [])
    for side, of_directory in zip(sides, (had, has)):
        if of_directory:
            mode, uid, gid = of_directory
            side.append(f"{shown} mode {mode:04o} owner {uid} group {gid}\n")
    for outcome in outcomes:
        name = command.one_line(os.path.basename(outcome["into"]))
        line = f"{name} {outcome['files']} files, {outcome['size']} bytes\n"
        before, after = {
            "made": ("", line),
            "removed": (line, ""),
            "kept": (line, line),
            "replaced": (f"{name} with other content, modes or owner\n", line),
        }[outcome["action"]]
        sides[0].append(before)
        sides[1].append(after)
    headers = {"before_header": shown, "after_header": shown}
    return {**headers, "before": "".join(sides[0]), "after": "".join(sides[1])}


if __name__ == "__main__":
    main()
