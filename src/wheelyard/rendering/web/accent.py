"""
The accent colour of a brand, as rules of the style sheet.

An operator may choose any colour. The colour is darkened for the light scheme and lightened for the
dark scheme, as far as text in this colour needs to be readable (WCAG 2.2, level AA).
"""

from typing import Final

_Colour = tuple[float, float, float]
"""Red, green and blue in sRGB, each from 0 to 1."""

LIGHT_SURFACES: Final = ("#ffffff", "#f5f7f9")
"""The colours behind text in the light scheme: `--background` and `--surface` of the sheet."""
DARK_SURFACES: Final = ("#14181d", "#1d232a")
"""The colours behind text in the dark scheme: `--background` and `--surface` there."""
MIN_CONTRAST: Final = 5.2
"""Above the 4.5 of WCAG 2.2 (level AA), as some surfaces are tinted with the accent colour."""
STEPS: Final = 50
"""How many mixtures are tried between the accent colour and black or white."""
_BLACK: Final = (0.0, 0.0, 0.0)
_WHITE: Final = (1.0, 1.0, 1.0)


def accent_css(accent: str) -> str:
    """Return the rules that make `accent`, such as `#1b62b5`, the accent colour of all pages."""
    light = _readable_colour(LIGHT_SURFACES, accent, _BLACK)
    dark = _readable_colour(DARK_SURFACES, accent, _WHITE)
    return (
        f"\n:root {{ {_accent_properties(light)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_accent_properties(dark)} }} }}\n"
    )


def _readable_colour(surfaces: tuple[str, ...], accent: str, end: _Colour) -> str:
    """
    Return the colour between `accent` and `end` that is nearest to `accent` and readable.

    Text in this colour is readable on all surfaces. If no mixture is, return `end`.
    """
    backgrounds = [parse_colour(surface) for surface in surfaces]
    start = parse_colour(accent)
    for step in range(STEPS + 1):
        colour_text = _format_colour(_mix(start, end, step / STEPS))
        # measured as browsers get the colour: rounding may take it below the contrast
        rounded = parse_colour(colour_text)
        if all(contrast(rounded, background) >= MIN_CONTRAST for background in backgrounds):
            return colour_text
    return _format_colour(end)


def contrast(first: _Colour, second: _Colour) -> float:
    """Return the contrast ratio of two colours, from 1 to 21, as WCAG 2.2 defines it."""
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def _accent_properties(accent: str) -> str:
    """Return the accent colour and the colour of text on it, as properties of CSS."""
    colour = parse_colour(accent)
    on_accent = "#000000"
    if contrast(colour, _WHITE) >= contrast(colour, _BLACK):
        on_accent = "#ffffff"
    return f"--accent: {accent}; --on-accent: {on_accent};"


def parse_colour(text: str) -> _Colour:
    """Return the colour that a text such as `#1b62b5` names."""
    red = int(text[1:3], 16) / 255
    green = int(text[3:5], 16) / 255
    blue = int(text[5:7], 16) / 255
    return red, green, blue


def _format_colour(colour: _Colour) -> str:
    """Return the text of a colour, such as `#1b62b5`."""
    red, green, blue = (round(channel * 255) for channel in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _mix(start: _Colour, end: _Colour, share: float) -> _Colour:
    """Return a mixture of two colours: `start` at a share of 0, and `end` at a share of 1."""
    red, green, blue = (
        start_channel + (end_channel - start_channel) * share
        for start_channel, end_channel in zip(start, end, strict=True)
    )
    return red, green, blue


def _luminance(colour: _Colour) -> float:
    """Return how bright a colour appears, from 0 to 1, as WCAG 2.2 defines it."""
    red, green, blue = map(_linear_light, colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear_light(channel: float) -> float:
    """Return the share of light that a channel of sRGB stands for, as WCAG 2.2 defines it."""
    if channel <= 0.04045:  # noqa: PLR2004 - where sRGB changes from a line to a curve
        return channel / 12.92
    share: float = ((channel + 0.055) / 1.055) ** 2.4
    return share
