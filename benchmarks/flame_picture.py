"""A flame graph as an SVG: each frame as wide as its samples, above the frame that called it."""

from collections.abc import Iterator, Mapping
from html import escape

Stacks = Mapping[tuple[str, ...], float]
"""Samples by their frames, the outermost frame first."""

WIDTH, ROW, TOP = 1000, 18, 30
NARROWEST = 2.0
"""Narrower frames are left out."""
DEEPEST = 14
LETTER = 6.3
"""The width of a letter, about."""
COLOURS = {
    "kernel": "#d29c6c",
    "Granian": "#c98bb0",
    "Python": "#6fa8dc",
}
OTHERS = "#b3b3b3"
STYLE = """
text { font: 11px ui-monospace, monospace; fill: #111111 }
.title { font: 600 14px system-ui, sans-serif; fill: #1f2328 }
rect { stroke: #ffffff; stroke-width: 0.5 }
@media (prefers-color-scheme: dark) { .title { fill: #e6edf3 } rect { stroke: #0d1117 } }
"""


def draw(stacks: Stacks, title: str) -> str:
    """Return a picture of the stacks."""
    total = sum(stacks.values())
    frames = [*_frames(stacks, 0, 0.0, WIDTH / total, "")]
    rows = 1 + max(depth for depth, *_ in frames)
    height = TOP + rows * ROW
    box = f'viewBox="0 0 {WIDTH} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-labelledby="title">',
        f'<title id="title">{escape(title)}: processor time</title>',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="0" y="16">{escape(title)}</text>',
    ]
    for depth, x, width, name, part in frames:
        y = height - (depth + 1) * ROW
        share = f"{width / WIDTH:.1%}"
        lines.append(
            f'<g><title>{escape(name)}: {share}</title><rect x="{x:.1f}" y="{y}" '
            f'width="{width:.1f}" height="{ROW}" fill="{COLOURS.get(part, OTHERS)}"/>'
        )
        label = f"{name} {share}" if depth == 0 else name
        room = int((width - 6) / LETTER)
        shown = label if len(label) <= room else f"{label[: room - 1]}…"
        if room > 2:
            lines.append(f'<text x="{x + 3:.1f}" y="{y + 13}">{escape(shown)}</text>')
        lines.append("</g>")
    return "\n".join([*lines, "</svg>\n"])


def _frames(
    stacks: Stacks, depth: int, x: float, scale: float, part: str
) -> Iterator[tuple[int, float, float, str, str]]:
    """Yield depth, place, width, name and outermost frame of each frame that is wide enough."""
    if depth == DEEPEST:
        return
    groups = dict[str, dict[tuple[str, ...], float]]()
    for stack, samples in stacks.items():
        if stack:
            groups.setdefault(stack[0], {})[stack[1:]] = samples
    for name, inner in sorted(groups.items(), key=lambda each: -sum(each[1].values())):
        width = sum(inner.values()) * scale
        if width >= NARROWEST:
            yield depth, x, width, name, part or name
            yield from _frames(inner, depth + 1, x, scale, part or name)
        x += width
