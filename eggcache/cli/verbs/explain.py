"""The command `explain`: what the code of a finding means, as docs/reference/findings.rst has it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from eggcache import findings
from eggcache.cli import arguments, console
from eggcache.cli.render import report
from eggcache.errors import UsageError, meant
from eggcache.findings.explanation import Explanation


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "codes", metavar="CODE", nargs="*", help="what a message has in brackets at its end; none: all are listed"
    )
    arguments.json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Print the explanation of each code, or a list of all codes."""
    known = findings.explanations()
    codes = [code.strip("[]") for code in options.codes]
    for code in codes:
        if code not in known:
            remedy = meant(code, known) or "eggcache explain lists the codes that there are"
            raise UsageError("explain", f"no finding has the code {code!r}", remedy)
    explanations = [known[code] for code in codes or known]
    if options.json:
        print(report.as_json({"schema": 1, "command": "explain", "explanations": [asdict(e) for e in explanations]}))
    elif not options.quiet:
        width = console.width()
        for line in explained(explanations, width) if codes else listed(width):
            print(line)
    return 0


def explained(explanations: Sequence[Explanation], width: int) -> Iterator[str]:
    """The explanations as paragraphs of `width` columns."""
    for number, explanation in enumerate(explanations):
        yield from ([""] if number else []) + [explanation.code]
        happens, remedy = f"What happens: {explanation.happens}", f"What to do: {explanation.remedy}"
        for text in (explanation.means, happens, remedy):
            yield from console.wrapped(text, max(width, 40), "    ", "    ")


def listed(width: int) -> Iterator[str]:
    """Each code with the first sentence of what it means, by the parts of a site that the findings are about."""
    for number, (title, explanations) in enumerate(findings.SECTIONS):
        yield from ([""] if number else []) + [title]
        for explanation in explanations:
            yield f"  {explanation.code}"
            sentence = explanation.means.partition(". ")[0].rstrip(".") + "."
            yield from console.wrapped(sentence, max(width, 40), "      ", "      ")
