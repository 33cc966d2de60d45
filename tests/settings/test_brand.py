"""The brand that `[web]` describes, as an index reads it when it is opened."""

from pathlib import Path

import pytest

from tests.model.test_brand import LOGO
from tests.refused import refused
from tests.settings.written import settings_of
from wheelyard.errors import Invalid
from wheelyard.model.brand import DEFAULT_BRAND, Brand, Logo
from wheelyard.settings.sections import WebSettings
from wheelyard.wiring.build import brand_of


def test_the_logo_lies_beside_the_settings(tmp_path: Path) -> None:
    """The logo lies beside the file of the settings, and the colour may be in capital letters."""
    (tmp_path / "logo.svg").write_bytes(LOGO)
    text = '[web]\nname = "Acme packages"\naccent = "#C2185B"\nlogo = "logo.svg"\n'

    brand = brand_of(settings_of(text, tmp_path).web)

    assert brand == Brand("Acme packages", "#c2185b", Logo("svg", LOGO))
    assert brand_of(WebSettings()) == DEFAULT_BRAND


@pytest.mark.parametrize("body", [None, b"no picture"])
def test_a_wrong_logo(tmp_path: Path, body: bytes | None) -> None:
    """A logo that is missing, or no picture, stops the start with a sentence that names it."""
    path = tmp_path / "logo.svg"
    if body is not None:
        path.write_bytes(body)

    with refused(Invalid, "bad_setting", match=r"web\.logo: .*logo\.svg"):
        brand_of(WebSettings(logo=str(path)))
