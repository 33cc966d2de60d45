"""The site of docs/, built by the program that `requirements/docs.txt` locks."""

import functools
import sys
from pathlib import Path

from tests.clients.harness import REPOSITORY, install_lock
from tests.once import made_once
from tools.docs_site import Version, build_site

LOCK = REPOSITORY / "requirements" / "docs.txt"


def zensical() -> Path:
    """Return the program that renders the pages; skip the test where it cannot be installed."""
    folder = made_once("docs", [LOCK, sys.version], functools.partial(install_lock, LOCK))
    return folder / "bin" / "zensical"


def built_site(folder: Path, *names: str) -> Path:
    """Build the pages of this clone as those of some versions, newest first; return the site."""
    versions = [Version(name, f"v{name}.0", REPOSITORY) for name in names]
    build_site(versions, folder / "site", zensical())
    return folder / "site"
