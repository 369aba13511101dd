"""An HTML page that stands alone: its frame, its style and its script, and the parts that pages are made of.

Names in it come from eggs, from targets and from files of other hosts. Each goes through `text`, and the policy of the
page lets no script run but its own, by hash, and nothing be loaded from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Iterator, Mapping

from eggcache.errors import one_line

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --dim: #57606a; --line: #d0d7de; --soft: #f6f8fa;
  --zipped: #7a4b00; --prepared: #116329; --unzipped: #0a5a8a; --missing: #b01020; --conflicting: #8a1a8a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --dim: #9aa4af; --line: #3d444d; --soft: #161b22;
    --zipped: #e3b341; --prepared: #56d364; --unzipped: #79c0ff; --missing: #ff8f88; --conflicting: #e2a5ff; } }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.25; }
code, .mono { font-family: ui-monospace, monospace; font-size: 0.9em; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.6rem; text-align: left; vertical-align: top; }
td.number { text-align: right; white-space: nowrap; }
.scroll { overflow-x: auto; }
.dim { color: var(--dim); }
ul.tree, ul.tree ul { list-style: none; margin: 0; padding-left: 1.25rem; }
ul.tree { padding-left: 0; }
ul.tree .leaf { padding-left: 1.05rem; }
.state { border: 1px solid currentColor; border-radius: 0.6rem; padding: 0 0.45rem; font-size: 0.85em; }
.zipped { color: var(--zipped); } .prepared { color: var(--prepared); } .unzipped { color: var(--unzipped); }
.missing { color: var(--missing); } .conflicting, .unparsed { color: var(--conflicting); }
article { border: 1px solid var(--line); border-left-width: 0.4rem; border-radius: 0.3rem; margin: 0.75rem 0;
  padding: 0.5rem 0.9rem; break-inside: avoid; }
article.wrong { border-left-color: var(--missing); }
.command { display: flex; gap: 0.5rem; align-items: flex-start; background: var(--soft); padding: 0.4rem 0.6rem; }
.command code { flex: 1; white-space: pre-wrap; }
button, input { font: inherit; color: inherit; background: var(--soft); border: 1px solid var(--dim);
  border-radius: 0.3rem; padding: 0.15rem 0.6rem; }
:focus-visible { outline: 3px solid var(--unzipped); outline-offset: 2px; }
svg { display: block; } svg rect { fill: currentColor; }
.by-script { display: none; } .scripted .by-script { display: revert; }
@media print {
  .by-script, .scripted .by-script { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
  body { max-width: none; }
}
"""

_SCRIPT = """
"use strict";
document.documentElement.className = "scripted";
const said = document.getElementById("said");
async function copy(code) {
  try { await navigator.clipboard.writeText(code.textContent); return true; } catch (_) {}
  getSelection().selectAllChildren(code);
  return document.execCommand("copy");
}
for (const button of document.querySelectorAll("button.copy")) button.addEventListener("click", async () => {
  const done = await copy(button.parentElement.querySelector("code"));
  button.textContent = done ? "copied" : "selected";
  said.textContent = done ? "The command is copied." : "The command is selected: copy it.";
});
for (const [id, open] of [["unfold", true], ["fold", false]])
  document.getElementById(id)?.addEventListener("click", () => {
    for (const one of document.querySelectorAll(".tree details")) one.open = open;
  });
const search = document.getElementById("search");
let unsearched = null;  // what was unfolded before
function find() {
  const word = search.value.trim().toLowerCase(), folds = [...document.querySelectorAll(".tree details")];
  let found = 0;
  if (word) unsearched ??= folds.map(fold => fold.open);
  for (const item of [...document.querySelectorAll(".tree li")].reverse()) {  // what is below comes first
    const line = item.querySelector(":scope > .leaf, :scope > details > summary");
    const own = line.textContent.toLowerCase().includes(word);
    const below = item.querySelector("li:not([hidden])") !== null;
    found += own;
    item.hidden = !(own || below);
    const fold = item.querySelector(":scope > details");
    if (fold && word && below) fold.open = true;
  }
  if (!word && unsearched) {
    folds.forEach((fold, place) => { fold.open = unsearched[place]; });
    unsearched = null;
  }
  said.textContent = word ? `${found} found` : "";
}
search?.addEventListener("input", find);
search?.addEventListener("keydown", event => {  // not every browser clears it by itself
  if (event.key === "Escape") { event.preventDefault(); search.value = ""; find(); }
});
const folded = [];
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details:not([open])")) { folded.push(one); one.open = true; }
});
addEventListener("afterprint", () => { while (folded.length) folded.pop().open = false; });
"""


def text(value: object) -> str:
    """What `value` says, as text in HTML, be it in an attribute: nothing in it is markup, or moves what is around."""
    return html.escape(one_line(str(value)))


def page(title: str, body: Iterable[str]) -> str:
    """A whole page: its title, and the HTML below it."""
    sources = f"style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}"
    policy = f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"
    return "\n".join((
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(title)}</title>",
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{text(title)}</h1>",
        '<p id="said" role="status" class="dim"></p>',
        *body,
        f"</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n",
    ))  # fmt: skip


def _hash(part: str) -> str:
    """A source of the policy: this very style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"


def table(head: Iterable[str], rows: Iterable[Iterable[str]], numbers: Iterable[int] = ()) -> Iterator[str]:
    """A table of cells that are HTML, and of plain headings; `numbers` are the columns that have numbers."""
    aligned = set(numbers)
    heads = "".join(f'<th scope="col">{text(title)}</th>' for title in head)
    yield '<div class="scroll"><table>'
    yield f"<thead><tr>{heads}</tr></thead>\n<tbody>"
    for row in rows:
        cells = (f"<td{' class=number' * (place in aligned)}>{cell}</td>" for place, cell in enumerate(row))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def facts(pairs: Mapping[str, object]) -> Iterator[str]:
    """A table of names and what they are."""
    yield "<table>"
    yield from (
        f'<tr><th scope="row">{text(name)}</th><td><code>{text(value)}</code></td></tr>'
        for name, value in pairs.items()
    )
    yield "</table>"


def command(line: str) -> str:
    """A command to copy."""
    button = f'<button type="button" class="copy by-script" aria-label="Copy: {text(line)}">copy</button>'
    return f'<div class="command"><code>{text(line)}</code>{button}</div>'


def bar(part: int, whole: int, label: str) -> str:
    """A picture of how large `part` is beside the largest, `whole`."""
    width = max(1, round(160 * part / whole)) if whole else 0
    return (
        f'<svg class="zipped" role="img" aria-label="{text(label)}" width="160" height="12" viewBox="0 0 160 12">'
        f'<rect width="{width}" height="12" rx="2"></rect></svg>'
    )


def state(word: str, label: str = "") -> str:
    """A state by its word, in its colour."""
    return f'<span class="state {text(word)}">{text(label or word)}</span>'


def finding(fields: Mapping[str, str], *, acted_on: bool, explained: str = "") -> Iterator[str]:
    """A finding, with its command to copy and its explanation to unfold.

    :param fields: its "code", "thing", "cause", "todo" (what to do in words) and "command", "" for none
    """
    yield f'<article{" class=wrong" * acted_on}><h3 class="mono">{text(fields["thing"])}</h3>'
    yield f"<p>{text(fields['cause'])}</p>"
    if fields["todo"]:
        yield f"<p><strong>To do:</strong> {text(fields['todo'])}</p>"
    if fields["command"]:
        yield command(fields["command"])
    code = f"<code>{text(fields['code'])}</code>"
    if explained:
        yield f"<details><summary>What {code} means</summary><p>{text(explained)}</p></details></article>"
    else:
        yield f"<p>{code}</p></article>"
