"""The benchmark's figures as bars: an SVG that reads in light and in dark."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

# (title, group, ways in this order, as they are called in the chart)
_PARTS = (
    ("A cold prepare, and other ways to have the files there", "prepare", (
        ("eggcache prepare", "eggcache prepare"), ("unzip -q", "unzip -q, egg by egg"),
        ("pkg_resources", "pkg_resources, on demand"), ("prototype", "the least a Python program does"),
        ("tar -x", "tar -x, nothing to inflate"))),
    ("With nothing to do", "warm", (
        ("eggcache prepare, warm", "eggcache prepare"), ("python -c pass", "python -c pass"))),
    ("Unzipping, byte code included", "unzip-all", (
        ("eggcache unzip-all", "eggcache unzip-all"), ("easy_install -Z", "easy_install -Z, egg by egg"))),
    ("The proof", "check", (
        ("eggcache check", "eggcache check"), ("pkg_resources, once", "pkg_resources, a look at each file"))),
)  # fmt: skip
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.t{font-weight:600}.o{fill:#57606a}"
    ".a{fill:#0969da}.b{fill:#afb8c1}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.o{fill:#8d96a0}.a{fill:#4493f8}.b{fill:#484f58}}"
)
_LEFT, _WIDTH, _LINE = 250, 380, 22  # pixels


def draw(result: dict[str, Any]) -> str:
    """The chart of a result. Of each group its medians, on tmpfs where there is one."""
    rows, y = [], 8
    for title, group, ways in _PARTS:
        measurements = [measurement for measurement in result["measured"] if measurement["group"] == group]
        medium = "tmpfs" if any(item["medium"] == "tmpfs" for item in measurements) else "disk"
        medians = {item["way"]: item["median"] for item in measurements if item["medium"] == medium}
        shown = [(label, medians[way]) for way, label in ways if way in medians]
        if not shown:
            continue
        most = max(seconds for _, seconds in shown)
        y += 20
        rows.append(f'<text class="t" x="8" y="{y}">{escape(title)} ({medium})</text>')
        for label, seconds in shown:
            y += _LINE
            color = "a" if label.startswith("eggcache") else "b"
            width = max(1.0, seconds / most * _WIDTH)
            text = f"{seconds:.3f} s" if seconds < 1 else f"{seconds:.1f} s"
            rows.append(f'<text x="{_LEFT - 8}" y="{y}" text-anchor="end">{escape(label)}</text>')
            rows.append(f'<rect class="{color}" x="{_LEFT}" y="{y - 12}" width="{width:.1f}" height="15" rx="2"/>')
            rows.append(f'<text class="o" x="{_LEFT + width + 6:.1f}" y="{y}">{text}</text>')
        y += 12
    height, width = y + 8, _LEFT + _WIDTH + 80
    body = "\n".join(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'role="img" aria-label="eggcache and its alternatives, medians in seconds">\n'
        f"<style>{_STYLE}</style>\n{body}\n</svg>\n"
    )
