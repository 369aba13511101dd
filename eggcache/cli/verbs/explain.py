"""The command `explain`: what the code of a finding means, as docs/reference/findings.rst has it."""

from __future__ import annotations

from eggcache.cli import console
from eggcache.errors import UsageError, meant
from eggcache.explanations import SECTIONS, by_code

TYPE_CHECKING = False  # as in freshness
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from eggcache.explanations.explanation import Explanation


def run(options: argparse.Namespace) -> int:
    """Print the explanation of each code, or a list of all codes."""
    all_by_code = by_code()
    codes = [code.strip("[]") for code in options.codes]
    for code in codes:
        if code not in all_by_code:
            remedy = meant(code, all_by_code) or "eggcache explain lists the codes that there are"
            raise UsageError(repr(code), "no finding has this code", remedy)
    explanations = [all_by_code[code] for code in codes or all_by_code]
    if options.json:
        from eggcache.cli.render import report

        rows = [explanation._asdict() for explanation in explanations]
        print(report.as_json({"schema": 1, "command": "explain", "explanations": rows}))
    elif not options.quiet:
        width = console.width()
        for line in explained(explanations, width) if codes else code_list(width):
            print(line)
    return 0


def explained(explanations: Sequence[Explanation], width: int) -> Iterator[str]:
    """The explanations as paragraphs of `width` columns."""
    for number, explanation in enumerate(explanations):
        yield from ([""] if number else []) + [explanation.code]
        happens, remedy = f"What happens: {explanation.happens}", f"What to do: {explanation.remedy}"
        for text in (explanation.means, happens, remedy):
            yield from console.wrapped(text, max(width, 40), "    ", "    ")


def code_list(width: int) -> Iterator[str]:
    """Each code with the first sentence of what it means, by the parts of a site that the findings are about."""
    for number, (title, section) in enumerate(SECTIONS):
        yield from ([""] if number else []) + [title]
        for explanation in section:
            yield f"  {explanation.code}"
            sentence = explanation.means.partition(". ")[0].rstrip(".") + "."
            yield from console.wrapped(sentence, max(width, 40), "      ", "      ")
