"""
An index to look at: real packages from PyPI and own ones, on a server that people can sign in to.

The real packages are downloaded once, into `.cache/showcase`: about 200 MB, most of it wheels of
numpy.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.browser.site import await_descriptions, running_site
from tests.http.packages import Package, publish, sdist, wheel
from tests.http.servers import RunningServer

FOLDER: Final = Path(__file__).resolve().parents[1] / ".cache" / "showcase"
PLATFORMS: Final = (
    "manylinux_2_27_x86_64",
    "manylinux_2_27_aarch64",
    "musllinux_1_2_x86_64",
    "win_amd64",
    "macosx_14_0_arm64",
)
REAL: Final = (
    *(f"requests=={version}" for version in ("2.28.0", "2.31.0", "2.32.0", "2.32.3", "2.34.2")),
    *(f"rich=={version}" for version in ("13.7.0", "13.9.4", "15.0.0")),
    *(f"numpy=={version}" for version in ("1.26.4", "2.1.3", "2.2.6")),
    "flask==3.1.3",
    "pydantic==2.14.3",
)
MANY_WHEELS: Final = "numpy==2.3.4"
PYTHONS: Final = ("3.11", "3.12", "3.13")
README: Final = """
# Acme Core

What every service of ours needs: settings, logging, *and* a client for the bus.

```python
from acme_core import Service

service = Service.from_environment()
service.run(port=8080)
```

## What is in it

| module | use it for |
|---|---|
| `acme_core.settings` | typed settings from the environment |
| `acme_core.bus` | publish and subscribe |
| `acme_core.health` | probes for Kubernetes |

- [x] Python 3.11 and newer
- [ ] Windows, one day

> Ask in #platform before you pin an older version.

See [the handbook](https://handbook.example.com/core) for more.
"""
FIELDS: Final = (
    "Summary: What every service of ours needs: settings, logging, and a client for the bus",
    "License-Expression: Apache-2.0",
    "Author-email: Platform team <platform@acme.example>",
    "Keywords: acme,service,bus,settings",
    "Classifier: Development Status :: 5 - Production/Stable",
    "Classifier: Programming Language :: Python :: 3.11",
    "Classifier: Programming Language :: Python :: 3.12",
    "Classifier: Framework :: AsyncIO",
    "Requires-Python: >=3.11",
    "Requires-Dist: requests>=2.31",
    "Requires-Dist: pydantic>=2",
    "Requires-Dist: rich>=13 ; extra == 'cli'",
    "Provides-Extra: cli",
    "Project-URL: Homepage, https://handbook.example.com/core",
    "Project-URL: Source, https://git.example.com/platform/acme-core",
    "Project-URL: Changelog, https://git.example.com/platform/acme-core/-/releases",
    "Description-Content-Type: text/markdown",
    README,
)
LONG_NAME: Final = "acme-platform-observability-opentelemetry-instrumentation-for-kafka-consumers"


@dataclass(frozen=True)
class PageToShow:
    """A page of the showcase; `name` is that of its pictures."""

    name: str
    path: str
    is_signed_in: bool = False
    is_pictured: bool = True
    """Whether it is a kind of page of its own, of which the documentation has pictures."""


ADMINISTRATION: Final = {
    "overview": "",
    "groups": "groups/",
    "group": "groups/?group=team",
    "grants": "grants/",
    "grant-form": "grants/?action=add",
    "history": "grants/history/",
    "explain": "explain/?kind=htpasswd&who=ana&project=acme-core&can=upload",
    "journal": "journal/",
    "names": "names/",
    "name-form": "names/?action=reserve",
    "publishers": "publishers/",
    "publisher-form": "publishers/?add=github",
    "storage": "storage/",
    "health": "health/",
    "settings": "settings/",
    "tokens": "tokens/",
    "token-form": "tokens/?action=make",
}
"""The pages for administrators."""
PAGES: Final = (
    PageToShow("home", "/"),
    PageToShow("search", "/?q=acme"),
    PageToShow("project", "/project/acme-core/"),
    PageToShow("project-numpy", "/project/numpy/", is_pictured=False),
    PageToShow("project-requests", "/project/requests/", is_pictured=False),
    PageToShow("project-long-name", f"/project/{LONG_NAME}/"),
    PageToShow("project-plain", "/project/plain/", is_pictured=False),
    PageToShow("release", "/project/numpy/2.3.4/"),
    PageToShow("history", "/project/acme-core/history/"),
    PageToShow("setup", "/setup/"),
    PageToShow("docs", "/-/docs/", is_pictured=False),
    PageToShow("docs-page", "/-/docs/settings/", is_pictured=False),
    PageToShow("sign-in", "/-/sign-in/"),
    PageToShow("not-found", "/project/no-such-project/"),
    PageToShow("home-signed-in", "/", is_signed_in=True, is_pictured=False),
    PageToShow("project-signed-in", "/project/acme-core/", is_signed_in=True),
    PageToShow("release-signed-in", "/project/numpy/2.3.4/", is_signed_in=True, is_pictured=False),
    PageToShow("account", "/-/account/", is_signed_in=True),
    PageToShow("password", "/-/account/password/", is_signed_in=True, is_pictured=False),
    PageToShow("upload", "/-/upload/", is_signed_in=True),
    *(
        PageToShow(f"admin-{name}", f"/-/admin/{path}", is_signed_in=True, is_pictured=False)
        for name, path in ADMINISTRATION.items()
    ),
    PageToShow("access", "/project/acme-core/access/", is_signed_in=True),
    PageToShow("manage", "/project/acme-core/manage/", is_signed_in=True),
    PageToShow("manage-release", "/project/acme-core/manage/?version=1.5.0", is_signed_in=True),
    PageToShow("yank", "/project/acme-core/manage/?version=1.5.0&action=yank", is_signed_in=True),
    PageToShow(
        "delete", "/project/acme-core/manage/?version=1.5.0&action=delete", is_signed_in=True
    ),
    PageToShow("status", "/project/acme-core/manage/?action=status", is_signed_in=True),
)


@contextmanager
def running_showcase(folder: Path) -> Iterator[RunningServer]:
    """Run a server with the packages on a new store in a folder."""
    with running_site(folder) as server:
        publish(server, *own_packages(), *real_packages())
        await_descriptions(server, "acme-core", "numpy", "requests", "rich")
        server.change("requests", "yank", version="2.32.0", reason="CVE-2024-35195: see 2.32.2")
        server.change("acme-core", "yank", version="1.4.0", reason="Loses messages on restart")
        reason = "Use rich instead"
        server.change("acme-colours", "status", status="deprecated", reason=reason)
        yield server


def own_packages() -> list[Package]:
    """Return packages of a team: with everything, a long name, deprecated, and with nothing."""
    cores = ("1.3.0", "1.4.0", "1.5.0", "2.0.0rc1")
    small = ("Summary: Traces of Kafka consumers, for OpenTelemetry", "Requires-Dist: acme-core")
    return [
        *(wheel("acme-core", version, *FIELDS) for version in cores),
        sdist("acme-core", "1.5.0", *FIELDS),
        wheel("acme-billing", "3.2.1", "Summary: Invoices", "Requires-Dist: acme-core>=1.4"),
        wheel("acme-colours", "0.9", "Summary: Colours of terminals", "License: MIT"),
        wheel(LONG_NAME, "0.42.0.dev20261122+local.build.1", *small),
        wheel("plain", "1.0"),
    ]


def real_packages() -> list[Package]:
    """Return the packages of PyPI, downloaded before or now."""
    for requirement in REAL:
        _download(requirement)
    _download("requests==2.34.2", "--no-binary=:all:")
    for python in PYTHONS:
        for platform in PLATFORMS:
            _download(MANY_WHEELS, f"--python-version={python}", f"--platform={platform}")
    return [Package(file.name, file.read_bytes(), b"") for file in sorted(FOLDER.glob("[!.]*"))]


def _download(requirement: str, *options: str) -> None:
    asked = "_".join((requirement, *options)).replace("=", "").replace(":", "")
    if (FOLDER / f".{asked}").exists():
        return
    kind = options if "--no-binary=:all:" in options else (*options, "--only-binary=:all:")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, *kind, f"--dest={FOLDER}", requirement], check=True)
    (FOLDER / f".{asked}").touch()
