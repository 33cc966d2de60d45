"""
The folder `benchmarks/results`: the figures of a run of all benchmarks, and their chart.

Each benchmark has a JSON file, with the machine and the versions that it was measured with.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.chart import draw
from benchmarks.report import Figure

FOLDER = Path(__file__).parent / "results"
CHART = FOLDER / "pages.svg"


def write(name: str, title: str, figures: Sequence[Figure], machine: Mapping[str, str]) -> None:
    """Write the figures of one benchmark; draw the chart if they are those of pages."""
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
