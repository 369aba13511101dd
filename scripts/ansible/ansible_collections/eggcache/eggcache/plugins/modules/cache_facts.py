"""What is in an egg cache, as facts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cache_facts
short_description: Say what is in an egg cache, with a digest to compare hosts by
version_added: 0.1.0
description:
  - Returns what C(eggcache status) says of an egg cache as the fact C(eggcache).
  - It is what the receipt and the dates of files say, and no proof. M(eggcache.eggcache.check) is that.
options:
  directory:
    description:
      - The egg cache. Where there is none, the facts say so.
    type: path
    required: true
  executable:
    description:
      - The eggcache command on the host, a path or a name to look for in its PATH.
    type: str
    default: eggcache
requirements:
  - eggcache on the host, which needs CPython 3.9 or newer
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Changes nothing in any mode.
    support: none
author:
  - The eggcache developers (!UNKNOWN)
seealso:
  - module: eggcache.eggcache.check
"""

EXAMPLES = r"""
- name: Ask what is in the cache
  eggcache.eggcache.cache_facts:
    directory: /var/cache/eggcache

- name: See that all hosts have the same, and have it current
  ansible.builtin.assert:
    that:
      - ansible_facts.eggcache.current
      - >-
        ansible_play_hosts | map('extract', hostvars, ['ansible_facts', 'eggcache', 'digest'])
        | unique | length == 1
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  type: dict
  returned: success
  contains:
    eggcache:
      description: What C(eggcache status --json) says, and what follows from it.
      type: dict
      returned: success
      contains:
        directory:
          description: The egg cache, absolute.
          type: str
        digest:
          description:
            - Over the names, sizes, CRCs, mtimes, owners (by number) and modes of all that was prepared.
            - Two hosts with the same digest have the same content. Empty where nothing was prepared.
          type: str
        current:
          description: Whether something was prepared, and all of it is as it was, like everything that it depends on.
          type: bool
        prepares:
          description: Each prepare that the cache has seen, with its target, its requirements and a digest of its own.
          type: list
          elements: dict
        contents:
          description: Each directory of the cache, with its egg, its state, its files and its bytes.
          type: list
          elements: dict
        findings:
          description: What is wrong with it.
          type: list
          elements: dict
"""

import hashlib

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.eggcache.eggcache.plugins.module_utils import command


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "executable": command.TARGET["executable"],
        },
        supports_check_mode=True,
    )
    run = command.Run(module, "status", module.params["directory"], target=False)
    if not run.report:
        command.conclude(module, run, run.result(changed=False), [])
    found = {key: value for key, value in run.report.items() if key not in ("schema", "command")}
    digests = sorted({prepare["digest"] for prepare in found["prepares"]})
    found["digest"] = digests[0] if len(digests) == 1 else combined(digests)
    found["current"] = bool(digests) and not (
        any(prepare["changed"] for prepare in found["prepares"])
        or any(content["state"] != "current" for content in found["contents"] if content["needed"])
    )
    module.exit_json(changed=False, ansible_facts={"eggcache": found})


def combined(digests: list[str]) -> str:
    """One digest for several, "" for none."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:32] if digests else ""


if __name__ == "__main__":
    main()
