"""The accent colour of a team, readable in both colour schemes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.model.brand import Brand
from wheelyard.rendering.web.accent import (
    DARK_SURFACES,
    LIGHT_SURFACES,
    accent_css,
    contrast,
    parse_colour,
)
from wheelyard.rendering.web.assets import STYLE, load_assets

COLOURS = st.integers(0, 0xFFFFFF).map("#{:06x}".format)
PROPERTIES = re.compile(r"--accent: (#\w{6}); --on-accent: (#\w{6});")
READABLE = 4.5


@given(accent=COLOURS)
def test_text_stays_readable(accent: str) -> None:
    """Whatever the colour, links and the text on buttons have the contrast of WCAG, level AA."""
    light, dark = PROPERTIES.findall(accent_css(accent))

    for (colour, on_accent), surfaces in ((light, LIGHT_SURFACES), (dark, DARK_SURFACES)):
        for behind in (*surfaces, on_accent):
            assert contrast(parse_colour(colour), parse_colour(behind)) >= READABLE


@pytest.mark.parametrize("accent", ["#8a1253", "#d20300"], ids=["by far", "just so"])
def test_a_readable_colour_stays(accent: str) -> None:
    """A colour that is readable already is used as it is."""
    assert f"--accent: {accent}; --on-accent: #ffffff;" in accent_css(accent)


def test_surfaces_are_those_of_the_style_sheet() -> None:
    """The contrast is computed with the backgrounds that the style sheet has, except paper."""
    style = load_assets()[STYLE].body.decode()
    backgrounds = re.findall(r"--background: (\S+);", style)
    surfaces = re.findall(r"--surface: (\S+);", style)

    pairs = list(zip(backgrounds, surfaces, strict=True))
    assert pairs == [LIGHT_SURFACES, DARK_SURFACES, ("#fff", "#fff")]


def test_accent_is_in_the_style_sheet() -> None:
    """The rules of a team's colour are in the one style sheet, whose name says so."""
    plain, own = load_assets()[STYLE], load_assets(Brand(accent="#8a1253"))[STYLE]

    assert own.body == plain.body + accent_css("#8a1253").encode()
    assert own.name != plain.name
