"""Reads the brand that section `[web]` of the settings describes."""

from pathlib import Path

from wheelyard.errors import Invalid
from wheelyard.model.brand import MAX_LOGO_BYTES, Brand, Logo, parse_logo
from wheelyard.model.text import escaped
from wheelyard.settings.sections import WebSettings
from wheelyard.settings.value_checks import bad_setting


def brand_of(web: WebSettings) -> Brand:
    """Return the brand of the settings; raise Invalid if the logo is missing or unfit."""
    return Brand(web.name, web.accent.lower(), _read_logo(web.logo) if web.logo else None)


def _read_logo(path: str) -> Logo:
    try:
        with Path(path).open("rb") as file:
            return parse_logo(file.read(MAX_LOGO_BYTES + 1))
    except OSError as error:
        raise bad_setting(f"web.logo: {escaped(path)}: {error.strerror}") from error
    except Invalid as error:
        why = error.message.removesuffix(".")
        raise bad_setting(f"web.logo: {escaped(path)}: {why}") from error
