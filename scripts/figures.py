"""The benchmark's figures as a table, and one group of them measured anew."""

from __future__ import annotations

from typing import Any


def table(result: dict[str, Any]) -> str:
    """What was measured, and how it compares."""
    rows = [["GROUP", "INPUT", "ON", "WAY", "MEDIAN s", "LEAST", "MOST", "LEAST CPU", "RUNS", "us/FILE", "PEAK MiB"]]
    for measurement in result["measured"]:
        seconds = measurement["seconds"]
        times = [f"{value:.3f}" for value in (measurement["median"], min(seconds), max(seconds))]
        per_file = f"{measurement['median'] / measurement['files'] * 1e6:.0f}"
        peak = f"{measurement['peak_mib']:.0f}"
        cpu = f"{min(measurement['cpu']):.3f}" if measurement.get("cpu") else "-"
        head = [measurement["group"], measurement["input"], measurement["medium"], measurement["way"]]
        rows.append([*head, *times, cpu, str(len(seconds)), per_file, peak])
    compared = [["COMPARISON", "ON", "RATIO", "LIMIT", ""]]
    for measurement in result["comparisons"]:
        limit = f"{'>=' if measurement['at_least'] else '<='} {measurement['limit']:g}"
        verdict = "holds" if measurement["holds"] else "MISSED"
        compared.append([measurement["what"], measurement["where"], f"{measurement['ratio']:.2f}", limit, verdict])
    counted = [["SYSTEM CALLS OF", "FOR EACH FILE"]]
    counted += [[way, f"{calls:.1f}"] for way, calls in result["syscalls_per_file"].items()]
    parts = [_columns(part) for part in (rows, counted, compared) if len(part) > 1]
    return "\n\n".join([*parts, *(f"not run: {note}" for note in result["not_run"])]) + "\n"


def _columns(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows)


def merged(before: dict[str, Any], now: dict[str, Any], group: str) -> dict[str, Any]:
    """An earlier result with one group measured anew."""
    kept = {
        name: [item for item in before[name] if item["group"] != group] + now[name]
        for name in ("measured", "comparisons")
    }
    notes = [note for note in before["not_run"] if not note.startswith(f"{group}, ")]
    calls = now["syscalls_per_file"] or before["syscalls_per_file"]
    return {**now, **kept, "syscalls_per_file": calls, "not_run": notes + now["not_run"]}
