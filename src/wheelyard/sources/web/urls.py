"""What somebody has typed as a source: whether it is a URL, and how it may be shown."""

from wheelyard.outgoing.urls import BadUrl, parse_url


def is_url(text: str) -> bool:
    """Return whether a text is meant to be such a URL."""
    return text.lower().startswith(("http://", "https://"))


def shown(text: str) -> str:
    """Return what somebody has named as people may see it: no credential, and no query of a URL."""
    try:
        return parse_url(text.strip()).shown
    except BadUrl:
        pass
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.strip().lower() == "gs" or not ("@" in rest or "?" in rest):
        return text
    if rest.startswith("/") or "?" in rest:  # a URL with a mistake in it: which part is which?
        return f"{scheme.rpartition('@')[2]}:..."
    return "..." + rest.rpartition("@")[2]
