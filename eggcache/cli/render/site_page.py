"""The page of one host: its trees, what is wrong by harm, what each egg needs, and the server as it runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from eggcache import explanations
from eggcache.cli.render import amounts, html_page, tree_lines
from eggcache.cli.render.report import files, size
from eggcache.explanations.eggs import EGGS
from eggcache.model import Distribution, Finding, Report, Tree

HARM = {  # by exit status, the worst first, as console._ORDER has them
    4: "Not safe, or not permitted",
    1: "Failed",
    5: "Missing or conflicting",
    3: "Wrong",
    0: "To know",
}
_EXPLAINING = ("no-cache", "cache-missing", "cache-unreachable")  # where one of these is, many others go with it
_BY_EGG = {explanation.code for explanation in EGGS}


@dataclass(frozen=True)
class Site:
    """One tree on this host, and what runs it."""

    tree: Tree
    prepared: Sequence[bool]  # for each distribution; () where no cache was looked at
    sizes: Mapping[str, int]  # bytes of each zipped egg's file


def render(
    result: Report, sites: Sequence[Site], server: Mapping[str, object], *, host: str, reader: str, when: str
) -> str:
    """The page.

    :param result: what `check` says of all `sites`
    :param server: what is known of the server, by names
    :param reader: the name of the account that it was checked as
    """
    cache = result.directory or "none"
    count = sum(finding.status != 0 for finding in result.findings)
    verdict = f"{amounts.counted(count, 'finding')} to act on" if count else "nothing is wrong"
    body = [
        f"<p>{html_page.state('missing' if count else 'prepared', verdict)}"
        f" as {html_page.text(reader)}, {html_page.text(when)}</p>",
        *html_page.facts({"egg cache": cache, **{f"Python{n}": python(site) for n, site in _numbered(sites)}}),
        *_findings(result.findings),
    ]
    body.append(_CONTROLS)
    for number, site in _numbered(sites):
        body += _tree(site, f"The tree{number}")
    body += _eggs(result, sites)
    body += ["<h2>The server as it runs</h2>", *html_page.facts(server)]
    return html_page.page(f"The eggs of {host}", body)


def python(site: Site) -> str:
    """The target in one line: where it is, and what it has."""
    target = site.tree.interpreter
    return f"{target.executable}, {'.'.join(map(str, target.version))}, {target.setuptools or 'pkg_resources unknown'}"


def explained(code: str) -> str:
    """What a code means, in words; "" for one that is none of this eggcache's."""
    about = explanations.by_code().get(code)
    return f"{about.means} What happens: {about.happens} What to do: {about.remedy}" if about else ""


def _numbered(sites: Sequence[Site]) -> list[tuple[str, Site]]:
    return [(f" {number}" if len(sites) > 1 else "", site) for number, site in enumerate(sites, 1)]


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    yield "<h2>Findings, by harm</h2>"
    if not findings:
        yield "<p>None.</p>"
    for status, title in HARM.items():
        group = [finding for finding in findings if finding.status == status]
        group.sort(key=lambda finding: finding.code not in _EXPLAINING)
        if group:
            yield f"<h3>{title} ({len(group)})</h3>"
        for finding in group:
            fields = {field: getattr(finding, field) for field in ("code", "thing", "cause")}
            fields.update(todo=finding.remedy.text, command=finding.remedy.command)
            yield from html_page.finding(fields, acted_on=status != 0, explained=explained(finding.code))


_CONTROLS = (
    '<p class="by-script"><label>Search the tree <input type="search" id="search"></label> '
    '<button type="button" id="unfold">Unfold all</button> <button type="button" id="fold">Fold all</button></p>'
)


def _tree(site: Site, title: str) -> Iterator[str]:
    total = "".join(part.text for part in tree_lines.total(site.tree, site.prepared))
    yield f"<h2>{title}</h2><p>{html_page.text(total)}</p>"
    rows = [(len(line[0].text) // 4, line[1:]) for line in tree_lines.lines(site.tree, site.prepared)]
    yield '<ul class="tree">'
    for (depth, parts), (following, _) in zip(rows, [*rows[1:], (0, ())]):
        label = "".join(map(_part, parts))
        if following > depth:
            yield f"<li><details open><summary>{label}</summary><ul>"
        else:
            yield f'<li><span class="leaf">{label}</span></li>' + "</ul></details></li>" * (depth - following)
    yield "</ul>"


def _part(part: tree_lines.Part) -> str:
    words = part.text.strip()
    if part.role == "name":
        return f"<strong>{html_page.text(words)}</strong> "
    if part.role in ("place", "mark"):
        return f'<span class="dim mono">{html_page.text(words)}</span> '
    return f"{html_page.state(part.role, words)} "


def _eggs(result: Report, sites: Iterable[Site]) -> Iterator[str]:
    """What each distribution needs, with a picture of its size; the largest first."""
    outcomes = {outcome.egg: outcome for outcome in result.outcomes}
    rows: dict[str, tuple[Distribution, bool, int]] = {}
    for site in sites:
        prepared = site.prepared or [False] * len(site.tree.distributions)
        for distribution, is_prepared in zip(site.tree.distributions, prepared):
            rows.setdefault(
                distribution.location, (distribution, is_prepared, site.sizes.get(distribution.egg or "", 0))
            )
    largest = max((weight for _, _, weight in rows.values()), default=0)
    sorted_rows = sorted(rows.values(), key=lambda row: (-row[2], row[0].title.lower()))
    yield "<h2>What each egg needs</h2>"
    cells = []
    for distribution, is_prepared, weight in sorted_rows:
        word, reason = _need(distribution, is_prepared, result.findings)
        outcome = outcomes.get(distribution.egg or "")
        amount = f"{files(outcome.files)}, {size(outcome.size)}" if outcome else ""
        cells.append((
            f'<strong>{html_page.text(distribution.title)}</strong><br><span class="dim mono">'
            f"{html_page.text(os.path.basename(distribution.location))}</span>",
            html_page.state(word, reason),
            html_page.bar(weight, largest, size(weight)) if distribution.kind.zipped else "",
            size(weight) if distribution.kind.zipped else "",
            html_page.text(amount),
        ))  # fmt: skip
    yield from html_page.table(("distribution", "needs", "size of the zip", "", "in the cache"), cells, (3, 4))


def _need(distribution: Distribution, is_prepared: bool, findings: Iterable[Finding]) -> tuple[str, str]:
    """The state that colours it, and what it needs: the cache, to be unzipped, or nothing."""
    if not distribution.kind.zipped:
        return "unzipped", "nothing: it is unzipped"
    places = (distribution.location, distribution.egg)
    against = [fault for fault in findings if fault.status and fault.code in _BY_EGG and fault.thing in places]
    if against:
        return "missing", "to be unzipped" if against[0].remedy.command else "repair: see the findings"
    return ("prepared", "nothing: the cache has it") if is_prepared else ("zipped", "the cache, or to be unzipped")
