"""URLs as settings have them: which of them are none, and which a message may repeat."""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from wheelyard.errors import quoted

NOT_SHOWN: Final = "a value with @, ?, # or % in it (not shown, because it may hold a secret)"

_REVEALING: Final = re.compile(r"[@?#%]")
_CREDENTIALS: Final = re.compile(r"://[^/?#]*@")


def veiled(text: str) -> str:
    """Return a wrong value as a message may repeat it: with a password or a key in it, not."""
    return NOT_SHOWN if _REVEALING.search(text) else quoted(text)


def has_host(url: str) -> bool:
    """Return whether a URL names a host, and no port that cannot be."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as half of a pair of brackets, or port 65536
        return False


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, as only this machine reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def has_credentials(url: str) -> bool:
    """Return whether a URL has a name or a password before its host."""
    return bool(_CREDENTIALS.search(url))
