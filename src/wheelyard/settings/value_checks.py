"""Checks of single values of settings, and the errors about them."""

import re
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from wheelyard.errors import Invalid, quoted
from wheelyard.settings.sections import MEMORY_LOCATION
from wheelyard.storage.location import SCHEMES, BucketLocation, parse_location

HIDDEN_VALUE: Final = "a value with @, ?, # or % in it (not shown, because it may hold a secret)"

_SECRET_CHARACTERS: Final = re.compile(r"[@?#%]")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_URL: Final = re.compile(r"https?://[^\x00-\x20\x7f/?#@]+(/[^\x00-\x20\x7f?#]*)?")


def bad_setting(why: str) -> Invalid:
    """Return Invalid (code `bad_setting`) for a setting; `why` continues the message."""
    return Invalid(f"A setting is wrong: {why}. See docs/settings.md.", code="bad_setting")


def quote_safely(text: str) -> str:
    """Return an invalid value, quoted, or `HIDDEN_VALUE` if it may contain a secret."""
    return HIDDEN_VALUE if _SECRET_CHARACTERS.search(text) else quoted(text)


def is_url(text: str) -> bool:
    """Return whether a text is an http or https URL without credential, query and fragment."""
    return bool(_URL.fullmatch(text)) and _has_host(text)


def is_host(text: str) -> bool:
    """Return whether a text is a host, perhaps with a port."""
    return bool(_HOST.fullmatch(text)) and _has_host(f"//{text}")


def _has_host(url: str) -> bool:
    """Return whether a URL has a host, and no port or one from 1 to 65535."""
    with suppress(ValueError):  # such as an unclosed bracket, or port 65536
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    return False


def _is_folder(text: str) -> bool:
    is_bucket = text.partition(":")[0].lower() in SCHEMES and ":" in text
    is_other = is_bucket or text[:1] == "~"  # only a shell knows a home folder
    return bool(text) and "\0" not in text and "://" not in text and not is_other


def parse_bucket(text: str) -> BucketLocation | None:
    """Return the location that the URL of a bucket names; None if it is malformed."""
    with suppress(Invalid):
        return None if "?" in text or "#" in text else parse_location(text)
    return None


def is_location(text: str) -> bool:
    """Return whether a text names a folder, a bucket or a store in memory."""
    return text == MEMORY_LOCATION or _is_folder(text) or parse_bucket(text) is not None
