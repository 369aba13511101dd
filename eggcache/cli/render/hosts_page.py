"""The page of many hosts: a table of what `check --json` said on each, and their findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eggcache.cli.render import html_page
from eggcache.cli.render.site_page import HARM


def render(hosts: Mapping[str, Mapping[str, Any]], when: str) -> str:
    """The page.

    :param hosts: by the name of each host, the object that `check --json` printed there
    """
    rows, parts = [], list[str]()
    for number, (host, said) in enumerate(hosts.items()):
        found: Sequence[Mapping[str, Any]] = said["findings"]
        wrong = [one for one in found if one["status"]]
        codes = ", ".join(sorted({one["code"] for one in wrong}))
        rows.append((
            f'<a href="#host-{number}">{html_page.text(host)}</a>',
            html_page.state(*(("missing", f"{len(wrong)} to act on") if wrong else ("prepared", "nothing is wrong"))),
            str(len(said["outcomes"])),
            f"<code>{html_page.text(said['directory'] or 'none')}</code>",
            f"<code>{html_page.text(codes)}</code>",
        ))  # fmt: skip
        parts.append(f'<h2 id="host-{number}">{html_page.text(host)}</h2>')
        ordered = sorted(found, key=lambda one: list(HARM).index(one["status"]))
        for one in ordered:
            todo = one["remedy"].removesuffix(one["command"]).rstrip(": ")
            parts += html_page.finding({**one, "todo": todo}, acted_on=one["status"] != 0)
        if not found:
            parts.append("<p>No finding.</p>")
    wrong_hosts = sum("missing" in row[1] for row in rows)
    body = [
        f"<p>{len(rows)} hosts, {wrong_hosts} with something to act on; {html_page.text(when)}</p>",
        *html_page.table(("host", "state", "eggs in the cache", "cache", "findings"), rows, (2,)),
        *parts,
    ]
    return html_page.page("The eggs of all hosts", body)
