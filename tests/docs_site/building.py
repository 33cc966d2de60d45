"""The site of docs/, built by the program that `requirements/docs.txt` locks."""

import functools
import sys
from pathlib import Path

from tests.clients.harness import REPOSITORY, install_lock
from tests.once import made_once
from tools.docs_site import LOGO, Version, build_site

LOCK = REPOSITORY / "requirements" / "docs.txt"


def zensical() -> Path:
    """Return the program that renders the pages; skip the test where it cannot be installed."""
    folder = made_once("docs", [LOCK, sys.version], functools.partial(install_lock, LOCK))
    return folder / "bin" / "zensical"


def built_site() -> Path:
    """Return the site of this clone's pages as those of the versions 0.2 and 0.1, made once."""
    names = ("docs", "tools/docs_site.py", "tools/docs_theme", "zensical.toml")
    made_from = [LOCK, LOGO, *(REPOSITORY / name for name in names)]
    return made_once("site", [*made_from], _build) / "site"


def _build(folder: Path) -> None:
    versions = [Version(name, f"v{name}.0", REPOSITORY) for name in ("0.2", "0.1")]
    build_site(versions, folder / "site", zensical())
