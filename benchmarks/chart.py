"""The chart of page rates: bars for each contender, for light and dark backgrounds."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from statistics import median

from benchmarks.report import Figure

WIDTH, LABELS, VALUES = 880, 250, 150
"""Of the picture, of the names on the left, and of the numbers on the right of the bars."""
BAR, GAP, TOP, BOTTOM = 15, 16, 54, 34
STYLE = """
text { fill: #1f2328; font: 13px system-ui, sans-serif }
.title { font-weight: 600; font-size: 15px }
.case { font-weight: 600 }
.note { fill: #57606a }
.wheelyard { fill: #1a7f37 }
.token { fill: #4ac26b }
.nginx { fill: #6e7781 }
.peer { fill: #bf8700 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note { fill: #9198a1 }
  .wheelyard { fill: #3fb950 }
  .token { fill: #238636 }
  .nginx { fill: #7d8590 }
  .peer { fill: #d29922 }
}
"""
WITH = ", with a token"
Bar = tuple[str, str, float, float | None]
"""The contender, how it is drawn, its rate, and the ratio to nginx's if it is ours."""


def draw(figures: Sequence[Figure], machine: Mapping[str, str]) -> str:
    """Return an SVG with the page rates of all contenders, case by case."""
    cases = [*_cases(figures)]
    lines, y = list[str](), TOP
    for name, bars in cases:
        most = max(rate for _, _, rate, _ in bars)
        lines.append(_text(0, y + BAR - 3, name, "case"))
        for contender, kind, rate, ratio in bars:
            y += BAR + 3
            width = max(1, (WIDTH - LABELS - VALUES) * rate / most)
            lines.append(_text(16, y + BAR - 3, contender))
            bar = f'x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR}"'
            lines.append(f'<rect class="{kind}" {bar} rx="2"/>')
            said = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
            said += f" ({ratio:.2f})" if ratio else ""
            lines.append(_text(LABELS + width + 8, y + BAR - 3, said))
        y += BAR + GAP
    about = "{cpu}, {cores} cores, {kernel}, Python {python}, Granian {granian}, nginx {nginx}"
    lines.append(_text(0, y + 8, about.format_map(machine), "note"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + BOTTOM}" '
        f'role="img" aria-labelledby="title">\n'
        f'<title id="title">Requests a second: wheelyard beside nginx and peers</title>\n'
        f"<style>{STYLE}</style>\n"
        + _text(0, 18, "Requests a second", "title")
        + "\n"
        + _text(0, 36, "16 connections, one worker each; in brackets: how many times nginx", "note")
        + "\n"
        + "\n".join(lines)
        + "\n</svg>\n"
    )


def _cases(figures: Sequence[Figure]) -> Iterator[tuple[str, list[Bar]]]:
    """Yield the cases that have a target, and their bars."""
    found = {figure.name: figure for figure in figures if figure.unit == "/s"}
    for name, figure in found.items():
        token = found.get(name + WITH)
        if token is None or not figure.target:
            continue
        bars: list[Bar] = [
            ("wheelyard", "wheelyard", median(figure.ours), figure.ratio),
            ("wheelyard, with a token", "token", median(token.ours), token.ratio),
        ]
        bars += [
            (peer, peer if peer == "nginx" else "peer", median(rates), None)
            for peer, rates in figure.contenders.items()
            if peer != "wheelyard" and not peer.startswith("bare")
        ]
        yield name, bars


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y}"{named}>{escape(text)}</text>'
