"""
The accent colour of a team as a part of the style sheet, for both colour schemes.

A colour of which text could not be read is made darker for the light scheme, or lighter for the
dark one, until its contrast is enough.
"""

from typing import Final

LIGHT_SURFACES: Final = ("#ffffff", "#f5f7f9")
"""What is behind text in the light scheme: `--background` and `--surface` of the style sheet."""
DARK_SURFACES: Final = ("#14181d", "#1d232a")
MIN_CONTRAST: Final = 5.2
"""Above the 4.5 of WCAG 2.2 (level AA), as some surfaces are tinted with the accent colour."""
STEPS: Final = 50

_BLACK, _WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
_Colour = tuple[float, float, float]


def accent_css(accent: str) -> str:
    """Return the rules that make `accent`, as `#1b62b5`, the accent colour of all pages."""
    light = readable_on(LIGHT_SURFACES, accent, _BLACK)
    dark = readable_on(DARK_SURFACES, accent, _WHITE)
    return (
        f"\n:root {{ {_properties(light)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_properties(dark)} }} }}\n"
    )


def readable_on(surfaces: tuple[str, ...], accent: str, end: _Colour) -> str:
    """Return the colour nearest to `accent`, on its way to `end`, that is readable everywhere."""
    behind = [parse_colour(each) for each in surfaces]
    start = parse_colour(accent)
    for step in range(STEPS + 1):
        mixed = _mix(start, end, step / STEPS)
        text = _format(mixed)
        if all(contrast(parse_colour(text), each) >= MIN_CONTRAST for each in behind):
            return text
    return _format(end)


def contrast(one: _Colour, other: _Colour) -> float:
    """Return the contrast ratio of two colours, from 1 to 21, as WCAG 2.2 defines it."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _properties(accent: str) -> str:
    colour = parse_colour(accent)
    on_accent = "#ffffff" if contrast(colour, _WHITE) >= contrast(colour, _BLACK) else "#000000"
    return f"--accent: {accent}; --on-accent: {on_accent};"


def parse_colour(text: str) -> _Colour:
    """Return a colour as `#1b62b5` as its parts, from 0 to 1."""
    red, green, blue = (int(text[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _format(colour: _Colour) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in colour)


def _mix(start: _Colour, end: _Colour, share: float) -> _Colour:
    red, green, blue = (a + (b - a) * share for a, b in zip(start, end, strict=True))
    return red, green, blue


def _luminance(colour: _Colour) -> float:
    def linear(part: float) -> float:
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4  # noqa: PLR2004

    red, green, blue = (linear(part) for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
