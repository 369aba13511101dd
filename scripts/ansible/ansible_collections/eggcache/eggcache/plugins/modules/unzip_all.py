"""Turn the zipped eggs of a tree into unzipped ones."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unzip_all
short_description: Turn zipped eggs into unzipped ones, in place
version_added: 0.1.0
description:
  - Turns every zipped egg of a tree into a directory of the same name, which leaves nothing to extract, by
    C(eggcache unzip-all).
  - Changed means that a file became a directory, or in check mode would.
  - Stop every server that uses these eggs before, and start it afterwards. A process that has scanned a zip cannot
    import from the directory that took its place, and no reload helps.
options:
  backup:
    description:
      - The directory that keeps each zip.
    type: path
extends_documentation_fragment:
  - eggcache.eggcache.target
  - eggcache.eggcache.target.wait
  - eggcache.eggcache.target.lenient
attributes:
  check_mode:
    description: Asks eggcache what it would do (C(-n)), which is what it then does.
    support: full
  diff_mode:
    description: Names each egg, before as a zip and after as a directory.
    support: full
seealso:
  - module: eggcache.eggcache.prepare
"""

EXAMPLES = r"""
- name: Leave zipped eggs behind, and keep the zips
  eggcache.eggcache.unzip_all:
    python: /srv/turbogears/bin/python
    backup: /var/backups/eggs
  notify: Stop and start Apache
"""

RETURN = r"""
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
      description: The directory that takes its place.
      type: str
    action:
      description: Always C(unzipped).
      type: str
    files:
      description: How many files.
      type: int
    size:
      description: Their bytes.
      type: int
restart:
  description: Whether every server that uses these eggs has to be stopped and started.
  type: bool
  returned: always
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.eggcache.eggcache.plugins.module_utils import command


def main() -> None:
    module = AnsibleModule(
        argument_spec={"backup": {"type": "path"}, **command.TARGET, **command.WAIT, **command.LENIENT},
        supports_check_mode=True,
    )
    options = command.waiting(module.params)
    if module.params["backup"]:
        options += ["--backup", module.params["backup"]]
    if module.check_mode:
        options.append("--dry-run")
    run = command.Run(module, "unzip-all", *options, writes=True)
    outcomes = run.report.get("outcomes", [])
    if not module.check_mode:  # the report is one thing, what lies there another
        wrong = [outcome["into"] for outcome in outcomes if not os.path.isdir(outcome["into"])]
        if wrong:
            shown = command.one_line(wrong[0])
            module.fail_json(
                msg=f"{shown}: eggcache reports it as unzipped, and it is no directory; run it with -v on the host",
                **run.result(changed=True, outcomes=outcomes, restart=True),
            )
    result = run.result(
        changed=bool(outcomes),
        outcomes=outcomes,
        restart=bool(outcomes),
        diff={
            "before": "".join(f"{command.one_line(outcome['into'])} zipped\n" for outcome in outcomes),
            "after": "".join(
                f"{command.one_line(outcome['into'])} {outcome['files']} files, {outcome['size']} bytes\n"
                for outcome in outcomes
            ),
        },
    )
    command.conclude(module, run, result, run.findings)


if __name__ == "__main__":
    main()
