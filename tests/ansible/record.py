"""An Ansible callback for the tests: every result as one line of JSON, in the file that RECORD names."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: record
type: aggregate
short_description: Results as lines of JSON
description: For eggcache's tests.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"

    def _write(self, what: str, host: str, task: str, handler: bool, result: dict[str, Any]) -> None:
        line = {"at": time.time(), "what": what, "host": host, "task": task, "handler": handler, "result": result}
        with open(os.environ["RECORD"], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, default=str) + "\n")

    def _of(self, what: str, result: Any) -> None:
        task = result._task
        handler = type(task).__name__.startswith("Handler") or "/restart-" in str(task.get_path())
        self._write(what, result._host.get_name(), task.get_name(), handler, dict(result._result))

    def v2_runner_on_ok(self, result: Any) -> None:
        self._of("ok", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._of("skipped", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._of("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._of("unreachable", result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        for host in sorted(stats.processed):
            self._write("stats", host, "", False, stats.summarize(host))
