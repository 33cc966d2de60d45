"""The name, logo and accent colour of a team."""

import pytest

from tests.refused import refused
from wheelyard.errors import Invalid
from wheelyard.model.brand import MAX_LOGO_BYTES, Brand, Logo, parse_logo

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink" {}>{}</svg>'
LOGO = SVG.format('viewBox="0 0 9 9"', '<rect width="9" height="9" fill="#c2185b"/>').encode()
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.mark.parametrize(
    ("body", "suffix"),
    [
        (LOGO, "svg"),
        (b'<?xml version="1.0"?><!-- drawn -->' + LOGO, "svg"),
        (SVG.format("", '<g id="a"/><use x:href="#a"/>').encode(), "svg"),
        (PNG, "png"),
        (b"\xff\xd8\xff\xe0", "jpg"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
        (b"GIF89a", "gif"),
        (b"\0\0\x01\0\x01\0", "ico"),
    ],
)
def test_a_logo_may_be_of_any_type_that_browsers_show(body: bytes, suffix: str) -> None:
    """A logo may be of any type that browsers show; its bytes say which."""
    assert parse_logo(body) == Logo(suffix, body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"acme",
        b"<html></html>",
        b"<svg></svg>",
        b"\xff\xfe\0",
        LOGO[:-1],
        PNG + bytes(MAX_LOGO_BYTES),
        SVG.format("", "<script>alert(1)</script>").encode(),
        SVG.format("", "<SCRIPT>alert(1)</SCRIPT>").encode(),
        SVG.format('onload="alert(1)"', "").encode(),
        SVG.format("", '<a x:href="JavaScript:alert(1)"/>').encode(),
        SVG.format("", '<animate attributeName="href" to="javascript:alert(1)"/>').encode(),
        SVG.format("", '<image href="https://example.com/x.png"/>').encode(),
        SVG.format("", '<foreignObject><p xmlns="x">a</p></foreignObject>').encode(),
        b'<!DOCTYPE svg [<!ENTITY a "b">]>' + LOGO,
    ],
)
def test_large_and_odd_logos_are_refused(body: bytes) -> None:
    """A large file, one that is no picture, and an SVG that is more than one are refused."""
    with refused(Invalid, "bad_setting"):
        parse_logo(body)


def test_each_part_of_the_brand_is_in_its_fingerprint() -> None:
    """Each part of the brand is in its fingerprint; the default brand has none."""
    logo = Logo("png", PNG)
    brands = [Brand("Acme"), Brand("Acme", "#c2185b"), Brand("Acme", "#c2185b", logo), Brand()]

    assert Brand().fingerprint == ""
    assert len({brand.fingerprint for brand in brands}) == len(brands)
