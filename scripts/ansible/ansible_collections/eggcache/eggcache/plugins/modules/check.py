"""Prove an egg cache."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check
short_description: Prove that Apache's user gets everything from an egg cache and can write nothing
version_added: 0.1.0
description:
  - Asks the target's own pkg_resources, as the user that Apache runs as, for every file of every zipped egg of a tree,
    compares the bytes, and looks at what surrounds the cache, by C(eggcache check).
  - Changes nothing. Use it as a gate, before a host is touched and after it was.
options:
  cache:
    description:
      - The egg cache. Without it, the C(PYTHON_EGG_CACHE) of the task's environment counts.
    type: path
  imports:
    description:
      - Modules that have to import, such as the application.
    type: list
    elements: str
    default: []
  app_config:
    description:
      - The application's TurboGears configuration, to be looked at as well.
    type: path
  location:
    description:
      - Where Apache serves the application.
    type: str
  ignore:
    description:
      - Codes of findings that are not to count. They are returned as RV(ignored).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - eggcache.eggcache.target
  - eggcache.eggcache.target.runtime
  - eggcache.eggcache.target.wait
  - eggcache.eggcache.target.lenient
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Changes nothing in any mode.
    support: none
seealso:
  - module: eggcache.eggcache.prepare
"""

EXAMPLES = r"""
- name: Prove the cache before Apache is restarted with it
  eggcache.eggcache.check:
    cache: /var/cache/eggcache
    python: /srv/turbogears/bin/python
    ignore:
      - running-without-cache
      - running-with-other-cache

- name: Prove the application, afterwards
  eggcache.eggcache.check:
    cache: /var/cache/eggcache
    python: /srv/turbogears/bin/python
    requirements: [myapp]
    imports: [myapp]
    app_config: /etc/myapp/prod.cfg
"""

RETURN = r"""
outcomes:
  description: The eggs that were looked at, with their files and bytes.
  type: list
  elements: dict
  returned: when eggcache had a report
findings:
  description: What is wrong, as C(eggcache --json) has it, without what is in RV(ignored).
  type: list
  elements: dict
  returned: always
ignored:
  description: The findings that O(ignore) names.
  type: list
  elements: dict
  returned: always
exit_status:
  description: The exit status of eggcache.
  type: int
  returned: always
busy:
  description: Whether a prepare was at work for longer than O(wait). The task failed, and can be retried.
  type: bool
  returned: always
cmd:
  description: The command.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.eggcache.eggcache.plugins.module_utils import command


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cache": {"type": "path"},
            "imports": {"type": "list", "elements": "str", "default": []},
            "app_config": {"type": "path"},
            "location": {"type": "str"},
            "ignore": {"type": "list", "elements": "str", "default": []},
            **command.TARGET,
            **command.RUNTIME,
            **command.WAIT,
            **command.LENIENT,
        },
        supports_check_mode=True,
    )
    params = module.params
    options = [*command.runtime(params), *command.waiting(params)]
    for name in ("cache", "app_config", "location"):
        if params[name]:
            options += [f"--{name.replace('_', '-')}", params[name]]
    for name in params["imports"]:
        options += ["--import", name]
    run = command.Run(module, "check", *options)
    ignored = [finding for finding in run.findings if finding["code"] in params["ignore"]]
    findings = [finding for finding in run.findings if finding not in ignored]
    result = run.result(changed=False, outcomes=run.report.get("outcomes", []), ignored=ignored)
    result["findings"] = findings
    command.conclude(module, run, result, findings)


if __name__ == "__main__":
    main()
