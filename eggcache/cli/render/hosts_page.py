"""The page of many hosts: a table of what `check --json` said on each, and their findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eggcache.cli.render import amounts, html_page
from eggcache.cli.render.site_page import HARM, explained

_ORDER = list(HARM)


def render(hosts: Mapping[str, Mapping[str, Any]], when: str) -> str:
    """The page: the hosts with the worst first, else in their order.

    :param hosts: by the name of each host, the object that `check --json` printed there
    """
    rows, parts = [], list[str]()
    for number, (host, answer) in enumerate(sorted(hosts.items(), key=lambda item: _harm(item[1]))):
        findings: Sequence[Mapping[str, Any]] = answer["findings"]
        faults = [finding for finding in findings if finding["status"]]
        codes = ", ".join(sorted({finding["code"] for finding in faults}))
        rows.append((
            f'<a href="#host-{number}">{html_page.text(host)}</a>',
            html_page.state(*(("missing", f"{len(faults)} to act on") if faults else ("prepared", "nothing is wrong"))),
            str(len(answer["outcomes"])),
            f"<code>{html_page.text(answer['directory'] or 'none')}</code>",
            f"<code>{html_page.text(codes)}</code>",
        ))  # fmt: skip
        parts.append(f'<h2 id="host-{number}">{html_page.text(host)}</h2>')
        sorted_findings = sorted(findings, key=lambda finding: _ORDER.index(finding["status"]))
        for finding in sorted_findings:
            todo = finding["remedy"].removesuffix(finding["command"]).rstrip(": ")
            fields, meaning = {**finding, "todo": todo}, explained(finding["code"])
            parts += html_page.finding(fields, acted_on=finding["status"] != 0, explained=meaning)
        if not findings:
            parts.append("<p>No finding.</p>")
    wrong_hosts = sum("missing" in row[1] for row in rows)
    count = amounts.counted(len(rows), "host")
    body = [
        f"<p>{count}, {wrong_hosts} with something to act on; {html_page.text(when)}</p>",
        *html_page.table(("host", "state", "eggs in the cache", "cache", "findings"), rows, (2,)),
        *parts,
    ]
    return html_page.page("The eggs of all hosts", body)


def _harm(answer: Mapping[str, Any]) -> int:
    """The place of a host among all, by the worst that was found there."""
    return min((_ORDER.index(finding["status"]) for finding in answer["findings"]), default=len(_ORDER))
