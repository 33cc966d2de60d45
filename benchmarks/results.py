"""
The folder `benchmarks/results`: the figures of a run of all benchmarks, their tables and a chart.

Each benchmark has a JSON file, with the machine and the versions that it was measured with.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.chart import draw
from benchmarks.report import Figure, short, spread

FOLDER = Path(__file__).parent / "results"
CHART = FOLDER / "pages.svg"
TABLES = FOLDER / "README.md"
INTRODUCTION = """# Measured figures

`python -m benchmarks all` has written this. A figure is the median of its rounds, with the smallest
and the largest behind it. [What is measured](../README.md);
[where the time goes](../../docs/performance.md)."""


def write(name: str, title: str, figures: Sequence[Figure], machine: Mapping[str, str]) -> None:
    """Write the figures of one benchmark, and all tables; draw the chart if they are of pages."""
    FOLDER.mkdir(exist_ok=True)
    today = datetime.now(UTC).date().isoformat()  # noqa: TID251 - when it was measured
    document = {
        "benchmark": name,
        "title": title,
        "measured": today,
        "machine": machine,
        "figures": [figure.as_json() for figure in figures],
    }
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(text + "\n")
    if name == "pages":
        CHART.write_text(draw(figures, machine))
    TABLES.write_text("\n".join(_tables()))


def _tables() -> Iterator[str]:
    """Yield the lines of a Markdown page with the figures of all benchmarks."""
    yield INTRODUCTION
    for path in sorted(FOLDER.glob("*.json")):
        found = json.loads(path.read_text())
        about = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
        yield from ("", f"## {found['benchmark']}", "", found["title"], "")
        yield from ("| figure | wheelyard | beside | ratio | to reach |", "|---|---|---|---|---|")
        yield from map(_row, found["figures"])
        yield from ("", f"Measured on {found['measured']}: {about}.")
    yield ""


def _row(figure: Mapping[str, Any]) -> str:
    ratio, unit = figure["ratio"], figure["unit"]
    shown = {name: spread(each["rounds"], unit) for name, each in figure["contenders"].items()}
    ours = shown.pop("wheelyard")
    beside = "<br>".join(f"{name} {value}" for name, value in shown.items())
    cells = (figure["name"], ours, beside, "" if ratio is None else short(ratio), figure["target"])
    return f"| {' | '.join(cells)} |"
