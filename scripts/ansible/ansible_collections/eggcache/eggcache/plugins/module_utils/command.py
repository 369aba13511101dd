"""One run of the eggcache command: its arguments, its JSON, and what its exit status means for a task."""

from __future__ import annotations

import json
import os
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

TARGET: dict[str, Any] = {
    "executable": {"type": "str", "default": "eggcache"},
    "requirements": {"type": "list", "elements": "str", "default": []},
    "all": {"type": "bool", "default": False},
    "python": {"type": "path"},
    "path": {"type": "list", "elements": "path", "default": []},
}
RUNTIME: dict[str, Any] = {"user": {"type": "str"}, "group": {"type": "str"}, "tz": {"type": "str"}}
WAIT: dict[str, Any] = {"wait": {"type": "float", "default": 120.0}}
LENIENT: dict[str, Any] = {"lenient": {"type": "bool", "default": False}}

BUSY = 75
ABOUT_EGGS = (3, 5)  # what `lenient` lets pass: single eggs are refused, distributions are missing


class Run:
    """What a run of eggcache said: `report` is its JSON (empty where it failed before it had any)."""

    def __init__(
        self, module: AnsibleModule, command: str, *options: str, writes: bool = False, target: bool = True
    ) -> None:
        argv = [program(module, writes), command, *options, "--json", *(_target(module.params) if target else ())]
        self.argv = argv
        # C.UTF-8, which every host has: names in its output come back as they are.
        self.status, out, err = module.run_command(argv, environ_update={"LC_ALL": "C.UTF-8", "LANGUAGE": ""})
        lines = [one_line(line) for line in err.splitlines() if line.strip()]
        self.messages = [line.partition("eggcache: ")[2] or line for line in lines]
        try:
            self.report: dict[str, Any] = json.loads(out) if out.strip() else {}
        except ValueError:
            self.report = {}
            self.messages.append(f"its answer is no JSON: {out[:200]!r}")

    @property
    def findings(self) -> list[dict[str, Any]]:
        return list(self.report.get("findings", ()))

    def result(self, **more: Any) -> dict[str, Any]:
        """What every module returns of it."""
        return {
            "cmd": self.argv,
            "exit_status": self.status,
            "busy": self.status == BUSY,
            "findings": self.findings,
            **more,
        }


def program(module: AnsibleModule, writes: bool) -> str:
    """The command; where it is not on the host, the task ends: as a prediction in check mode, else as a failure."""
    name = module.params["executable"]
    if "/" in name:
        found = name if os.access(name, os.X_OK) else None
    else:
        found = module.get_bin_path(name, opt_dirs=["/opt/eggcache/bin", "/usr/local/bin"])
    if found is None:
        missing = f"{name}: eggcache is not on this host"
        if module.check_mode:
            module.exit_json(changed=writes, skipped=not writes, msg=f"{missing} yet, so nothing could be asked")
        module.fail_json(msg=f"{missing}; install it, or name it with executable")
    return str(found)


def one_line(text: str) -> str:
    """Fit for a terminal, as eggcache's own messages are: its JSON has the names that eggs have, and Ansible prints
    warnings, messages and differences as they are."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def runtime(params: dict[str, Any]) -> list[str]:
    """The options that say who reads the cache."""
    return [word for name in RUNTIME if params[name] is not None for word in (f"--{name}", params[name])]


def waiting(params: dict[str, Any]) -> list[str]:
    return ["--wait", str(params["wait"])]


def _target(params: dict[str, Any]) -> list[str]:
    words = [word for each in params["path"] for word in ("--path", each)]
    if params["python"]:
        words += ["--python", params["python"]]
    if params["all"]:
        words.append("--all")
    return [*words, "--", *params["requirements"]]  # behind "--", where none can be taken for an option


def conclude(module: AnsibleModule, run: Run, result: dict[str, Any], findings: list[dict[str, Any]]) -> NoReturn:
    """End the task as the findings that count and the exit status ask for."""
    lenient = module.params.get("lenient", False)
    asked = {finding["status"] for finding in findings} - {0}
    if not run.report or (run.status and not run.findings):  # an error, and no or half a report
        asked = {run.status or 1}
    failing = asked - set(ABOUT_EGGS) if lenient else asked
    if failing:
        module.fail_json(msg=_message(run, findings), **result)
    for finding in findings:
        module.warn(_line(finding))
    module.exit_json(**result)


def _message(run: Run, findings: list[dict[str, Any]]) -> str:
    if run.status == BUSY:
        advice = "retry this task (until, retries, delay), or raise wait"
        return "; ".join([*run.messages[-1:], advice])
    if run.findings:
        return "\n".join(_line(finding) for finding in findings if finding["status"])
    return "\n".join(run.messages) or f"eggcache ended with status {run.status} and printed nothing"


def _line(finding: dict[str, Any]) -> str:
    what = f"{finding['thing']}: {finding['cause']} [{finding['code']}]"
    return one_line(f"{what}; {finding['remedy']}" if finding["remedy"] else what)
