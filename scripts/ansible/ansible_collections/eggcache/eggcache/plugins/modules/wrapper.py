"""Install what starts Apache with an egg cache."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wrapper
short_description: Install what starts Apache with its egg cache
version_added: 0.1.0
description:
  - Has C(eggcache wrapper) emit what makes a directory the egg cache of Apache, of the kind that this host's init
    system needs, and installs it where it belongs.
  - A running Apache never takes a new environment. Stop it and start it, RV(changed) or not, until it runs with the
    cache. M(eggcache.eggcache.check) says whether it does.
options:
  directory:
    description:
      - The egg cache.
    type: path
    required: true
  kind:
    description:
      - One of the kinds of C(eggcache wrapper --for). By default, what this host needs.
    type: str
  dest:
    description:
      - The file to write. By default, the one that this kind is meant to be.
      - A kind that becomes a part of a file needs it, and no other file than eggcache's own is replaced.
    type: path
  apachectl:
    description:
      - Apache's control script. By default, this host's.
    type: path
  pid_file:
    description:
      - Apache's pid file. By default, as Apache says.
    type: path
  unit:
    description:
      - Apache's unit of systemd's. By default, this host's.
    type: str
extends_documentation_fragment:
  - eggcache.eggcache.target
  - eggcache.eggcache.target.runtime
attributes:
  check_mode:
    description: Emits the text, and compares it with the file.
    support: full
  diff_mode:
    description: Shows both texts.
    support: full
seealso:
  - module: eggcache.eggcache.prepare
"""

EXAMPLES = r"""
- name: Install what this host's init system needs
  eggcache.eggcache.wrapper:
    directory: /var/cache/eggcache
    python: /srv/turbogears/bin/python
  notify: Stop and start Apache
"""

RETURN = r"""
kind:
  description: The kind that was emitted.
  type: str
  returned: success
  sample: init.d
why:
  description: Why this kind is right on this host, where O(kind) did not say.
  type: str
  returned: success
dest:
  description: The file.
  type: str
  returned: success
  sample: /etc/init.d/eggcache-apache
apachectl:
  description: Apache's control script.
  type: str
  returned: success
pid_file:
  description: Apache's pid file.
  type: str
  returned: success
unit:
  description: Apache's unit of systemd's.
  type: str
  returned: success
text:
  description: What was emitted.
  type: str
  returned: success
findings:
  description: Always empty.
  type: list
  elements: dict
  returned: always
exit_status:
  description: The exit status of eggcache.
  type: int
  returned: always
busy:
  description: Always false.
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.eggcache.eggcache.plugins.module_utils import command

KEPT = ("kind", "why", "apachectl", "pid_file", "unit", "text")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "kind": {"type": "str"},
            "dest": {"type": "path"},
            "apachectl": {"type": "path"},
            "pid_file": {"type": "path"},
            "unit": {"type": "str"},
            **command.TARGET,
            **command.RUNTIME,
        },
        supports_check_mode=True,
    )
    params = module.params
    options = [params["directory"], *command.runtime(params)]
    if params["kind"]:
        options += ["--for", params["kind"]]
    for name in ("apachectl", "pid_file", "unit"):
        if params[name]:
            options += [f"--{name.replace('_', '-')}", params[name]]
    named = ["--dry-run", "--output", params["dest"]] if params["dest"] else []  # an init script has its file's name
    run = command.Run(module, "wrapper", *options, *named, writes=True)
    if run.status or not run.report:
        command.conclude(module, run, run.result(changed=False), [])
    told = run.report
    dest = params["dest"] or told["place"]
    result = run.result(changed=False, dest=dest, **{name: told[name] for name in KEPT})
    if dest is None:
        module.fail_json(
            msg=f"what is emitted for {told['kind']} becomes a part of a file; name one with dest", **result
        )
    there = installed(dest)
    wanted = (told["text"], 0o755 if told["executable"] else 0o644, os.geteuid())
    if told["part"] and there:  # a block of somebody's file, whose mode and owner stay
        wanted = (there[0] if told["text"] in there[0] else told["text"], *there[1:])
    result["changed"] = there != wanted
    result["diff"] = {
        "before_header": dest,
        "after_header": dest,
        "before": described(there),
        "after": described(wanted),
    }
    for message in run.messages:
        if not message.startswith("--for "):  # which is in `why`
            module.warn(message)
    if result["changed"] and not module.check_mode:
        if not params["dest"]:
            os.makedirs(os.path.dirname(dest), mode=0o755, exist_ok=True)  # UNIT.d is ours to make
        # eggcache writes it itself: it looks who could exchange a file that root is going to run.
        written = command.Run(module, "wrapper", *options, "--output", dest)
        now = installed(dest)
        if written.status or not (now == wanted or (told["part"] and now and told["text"] in now[0])):
            module.fail_json(msg="\n".join(written.messages) or f"{dest}: it is not as it was emitted", **result)
    module.exit_json(**result)


def installed(dest: str) -> tuple[str, int, int] | None:
    """The text, the mode and the owner of what is installed; None where there is nothing."""
    try:
        with open(dest, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            info = os.fstat(stream.fileno())
            return stream.read(), stat.S_IMODE(info.st_mode), info.st_uid
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def described(what: tuple[str, int, int] | None) -> str:
    """For --diff."""
    return "" if what is None else f"mode {what[1]:04o} owner {what[2]}\n{what[0]}"


if __name__ == "__main__":
    main()
