"""
What names tell: of a file that nobody has looked into, and of a source that somebody has typed.

Looser than `wheelyard.model.distribution`, which decides what is taken: a source offers whatever
was once named so, that the report can tell of it.
"""

import re
from fnmatch import fnmatchcase
from typing import Final

from packaging.utils import canonicalize_name

from wheelyard.outgoing.urls import BadUrl, parse_url

SUFFIXES: Final = (
    *(".whl", ".tar.gz", ".zip", ".egg", ".exe", ".msi", ".rpm", ".dmg", ".deb"),
    *(".tar", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".tar.Z"),
)
"""How distributions have ended, at any time."""
BESIDE: Final = (
    *(".metadata", ".provenance", ".publish.attestation", ".meta", ".asc", ".sig"),
    *(".md5", ".sha1", ".sha256", ".sha512", ".html", ".json", ".xml", ".css", ".js", ".ico"),
)
"""How files end that say something of a distribution, or of all of them; nobody misses these."""
PAGES: Final = frozenset({"json", "index", "simple", "favicon.ico", "robots.txt"})
"""Names of files that a static site has among its packages."""

_SDIST: Final = re.compile(r"(.+?)-v?\d.*", re.DOTALL)


def is_offered(filename: str) -> bool:
    """Return whether a file may be a distribution."""
    return filename.endswith(SUFFIXES) and not filename.startswith(".")


def is_beside(filename: str) -> bool:
    """Return whether a file goes with distributions, and is no loss."""
    return filename.endswith(BESIDE) or filename in PAGES or filename.startswith(".")


def project_of(filename: str) -> str:
    """Return the normalised name of the project that a file belongs to, as far as one can tell."""
    if filename.endswith(".whl"):
        return canonicalize_name(filename.partition("-")[0])
    found = _SDIST.fullmatch(filename)
    return canonicalize_name(found[1] if found else filename)


def is_wanted(project: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a normalised project name is one of those asked for; no pattern means all."""
    # canonicalize_name leaves `*`, `?` and `[...]` as they are; a range such as [a-z] keeps its "-"
    return not patterns or any(fnmatchcase(project, canonicalize_name(each)) for each in patterns)


def is_url(text: str) -> bool:
    """Return whether a source is meant to be a URL of http or https."""
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
