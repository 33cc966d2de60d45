"""
An index to look at: real packages from PyPI and own ones, on a server that people can sign in to.

The real packages are downloaded once, into `.cache/showcase`: about 250 MB, most of it wheels of
numpy. The own ones have what is rare and has to fit all the same: 1,100 versions, 1,274 wheels of
one release, a name of 77 characters, text from right to left, a description of 45,000 pixels.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.browser.site import add_downloads, await_descriptions, running_site
from tests.distributions import Distribution, make_sdist, make_wheel
from tests.http.packages import publish
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
MORE: Final = """
alembic==1.20.1 anyio==4.16.0 attrs==26.1.0 babel==2.18.0 beautifulsoup4==4.15.0 black==26.10.1
boto3==1.44.8 build==1.6.1 celery==5.7.0 certifi==2026.10.19.post1 cffi==2.1.1
charset_normalizer==3.5.2 click==8.5.1 coverage==7.17.4 distlib==0.4.4 django==5.2.19
docutils==0.23 fastapi==0.165.0 filelock==4.2.12 flit_core==4.2.0 h11==0.16.0 hatchling==1.33.0
httpx==0.28.1 idna==3.20 iniconfig==2.3.1 isort==9.0.2 jinja2==3.1.6 jsonschema==4.26.0
loguru==0.7.3 markdown==3.11.3 markupsafe==3.0.4 marshmallow==4.4.0 mkdocs==1.6.1
msgspec==0.22.0 packaging==26.3 paramiko==5.1.0 pdm==2.29.4 pip==26.3 platformdirs==4.14.8
pluggy==1.7.0 poetry_core==2.5.0 psycopg==3.3.9 pycparser==3.12 pygments==2.21.0 pyjwt==2.15.1
pytest==9.2.0 python_dateutil==4.0.0 pytz==2026.6 redis==8.1.0 rich_click==1.9.9
setuptools==84.2.1 six==1.17.0 sniffio==1.3.1 sphinx==9.0.4 starlette==1.10.0 structlog==26.1.0
toml==0.10.2 tomli==2.5.0 tox==4.67.15 tqdm==4.70.1 twine==7.0.0 typer==0.29.2
typing_extensions==4.16.0 urllib3==2.8.0 uvicorn==0.54.0 virtualenv==21.15.11 werkzeug==3.1.9
wheel==0.48.0
"""
"""One release of each of these, so that lists have real summaries."""
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
VERSIONS: Final = 1100
WHEELS: Final = 1274
PLATFORM_TAGS: Final = (
    *("manylinux_2_17_x86_64", "manylinux_2_28_aarch64", "musllinux_1_2_x86_64", "win_amd64"),
    *("macosx_10_13_x86_64", "macosx_11_0_arm64", "win_arm64", "ios_13_0_arm64_iphoneos"),
    *("android_24_arm64_v8a", "pyodide_2025_0_wasm32", "linux_armv7l"),
)
RIGHT_TO_LEFT: Final = (
    "Summary: مكتبة الحسابات، חשבוניות לכל שירות",
    "Author-email: مريم خليل <maryam@acme.example>",
    "Keywords: فواتير,חשבונית",
    "Description-Content-Type: text/markdown",
    "\n# مكتبة الحسابات\n\nمكتبة **داخلية** لحساب الفواتير، مع `acme-core`.\n\n- تحويل العملات\n",
)
CHAPTER: Final = """
## Chapter {number}

{sentences}

```python
acme.call({number}, a_rather_long_argument_name="value", another_one="value")
```

| setting | what it does |
|---|---|
| `acme.some.setting.of.this.chapter` | something that takes a few words |

![a badge](https://img.example.com/{number}.svg)
"""
SENTENCES: Final = "A sentence that says something about nothing in particular. " * 8
HANDBOOK: Final = "".join(CHAPTER.format(number=at, sentences=SENTENCES) for at in range(90))
"""45,000 pixels in a narrow window."""
LONG_NAME: Final = "acme-platform-observability-opentelemetry-instrumentation-for-kafka-consumers"


@dataclass(frozen=True)
class PageToShow:
    """A page of the showcase; `name` is that of its pictures."""

    name: str
    path: str
    is_signed_in: bool = False
    is_pictured: bool = False
    """Whether the documentation shows it."""


ADMINISTRATION: Final = {
    "overview": "",
    "people": "people/",
    "person": "people/?who=htpasswd:ana",
    "groups": "groups/",
    "group": "groups/?group=team",
    "grants": "grants/",
    "grant-form": "grants/?action=add",
    "history": "grants/history/",
    "explain": "explain/?kind=htpasswd&who=ana&project=acme-core&can=upload",
    "indexes": "indexes/",
    "index-form": "indexes/?make=index",
    "journal": "journal/",
    "names": "names/",
    "name-form": "names/?action=reserve",
    "publishers": "publishers/",
    "publisher-form": "publishers/?add=github",
    "storage": "storage/",
    "retention": "retention/",
    "health": "health/",
    "settings": "settings/",
    "tokens": "tokens/",
    "token-form": "tokens/?action=make",
}
"""The pages for administrators."""
PAGES: Final = (
    PageToShow("home", "/", is_pictured=True),
    PageToShow("search", "/?q=acme"),
    PageToShow("project", "/project/acme-core/", is_pictured=True),
    PageToShow("project-numpy", "/project/numpy/"),
    PageToShow("project-requests", "/project/requests/"),
    PageToShow("project-long-name", f"/project/{LONG_NAME}/"),
    PageToShow("project-plain", "/project/plain/"),
    PageToShow("project-right-to-left", "/project/acme-rtl/"),
    PageToShow("project-handbook", "/project/acme-handbook/"),
    PageToShow("project-binary", "/project/acme-binary/"),
    PageToShow("files", "/project/acme-binary/files/", is_pictured=True),
    PageToShow("files-filtered", "/project/acme-binary/files/?q=3.12+arm64"),
    PageToShow("files-plain", "/project/numpy/files/"),
    PageToShow("releases", "/project/requests/releases/"),
    PageToShow("releases-many", "/project/acme-daily/releases/"),
    PageToShow("compare", "/project/acme-core/compare/"),
    PageToShow("dependencies", "/project/acme-core/dependencies/"),
    PageToShow("release", "/project/numpy/2.2.6/"),
    PageToShow("release-yanked", "/project/requests/2.32.0/"),
    PageToShow("downloads", "/project/acme-core/downloads/?days=90"),
    PageToShow("history", "/project/acme-core/history/"),
    PageToShow("all-projects", "/-/projects/1/?show=all&sort=date"),
    PageToShow("setup", "/setup/?project=acme-core", is_pictured=True),
    PageToShow("setup-poetry", "/setup/?client=poetry&project=acme-core"),
    PageToShow("setup-plain", "/setup/"),
    PageToShow("docs", "/-/docs/"),
    PageToShow("docs-page", "/-/docs/settings/"),
    PageToShow("docs-search", "/-/docs/?q=webhook"),
    PageToShow("sign-in", "/-/sign-in/"),
    PageToShow("not-found", "/project/acme-croe/"),
    PageToShow("home-signed-in", "/", is_signed_in=True),
    PageToShow("project-signed-in", "/project/acme-core/", is_signed_in=True),
    PageToShow("release-signed-in", "/project/numpy/2.2.6/", is_signed_in=True),
    PageToShow("account", "/-/account/", is_signed_in=True),
    PageToShow("upload", "/-/upload/", is_signed_in=True),
    *(
        PageToShow(f"admin-{name}", f"/-/admin/{path}", is_signed_in=True)
        for name, path in ADMINISTRATION.items()
    ),
    PageToShow("access", "/project/acme-core/access/", is_signed_in=True),
    PageToShow("manage", "/project/acme-core/manage/", is_signed_in=True, is_pictured=True),
    PageToShow("manage-many", "/project/acme-daily/manage/", is_signed_in=True),
    PageToShow("delete-project", "/project/acme-core/manage/?action=delete", is_signed_in=True),
    PageToShow("manage-release", "/project/acme-core/manage/?version=1.5.0", is_signed_in=True),
    PageToShow("yank", "/project/acme-core/manage/?version=1.5.0&action=yank", is_signed_in=True),
    PageToShow("promote", "/project/acme-core/1.5.0/promote/", is_signed_in=True),
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
        add_downloads(server, "acme-core", "1.5.0", "1.4.0", "0.9")
        await_descriptions(
            server, "acme-core", "acme-handbook", "acme-rtl", "numpy", "requests", "rich"
        )
        server.change("requests", "yank", version="2.32.0", reason="CVE-2024-35195: see 2.32.2")
        server.change("acme-core", "yank", version="1.4.0", reason="Loses messages on restart")
        reason = "Use rich instead"
        server.change("acme-colours", "status", status="deprecated", reason=reason)
        yield server


def own_packages() -> list[Distribution]:
    """Return packages of a team: with everything, a long name, deprecated, and with nothing."""
    cores = ("1.3.0", "1.4.0", "1.5.0", "2.0.0rc1")
    small = ("Summary: Traces of Kafka consumers, for OpenTelemetry", "Requires-Dist: acme-core")
    return [
        *(make_wheel("acme-core", version, *FIELDS) for version in cores),
        make_sdist("acme-core", "1.5.0", *FIELDS),
        make_wheel("acme-billing", "3.2.1", "Summary: Invoices", "Requires-Dist: acme-core>=1.4"),
        make_wheel("acme-colours", "0.9", "Summary: Colours of terminals", "License: MIT"),
        make_wheel(LONG_NAME, "0.42.0.dev20261122+local.build.1", *small),
        make_wheel("plain", "1.0"),
        make_wheel("acme-rtl", "1.0", *RIGHT_TO_LEFT),
        make_wheel("acme-handbook", "4.0", "Description-Content-Type: text/markdown", HANDBOOK),
        *(make_wheel("acme-daily", f"2026.{number}") for number in range(VERSIONS)),
        *many_wheels(),
        make_sdist("acme-binary", "3.5.1"),
    ]


def many_wheels() -> Iterator[Distribution]:
    """Yield the wheels of a release for many interpreters and platforms, in several builds."""
    pythons = [f"cp3{minor}-cp3{minor}" for minor in range(8, 15)]
    tags = [f"{python}-{platform}" for python in pythons for platform in PLATFORM_TAGS]
    for number in range(WHEELS):
        build, tag = divmod(number, len(tags))
        made = make_wheel("acme-binary", "3.5.1", "Summary: For every machine", tag=tags[tag])
        yield replace(made, filename=made.filename.replace("3.5.1-", f"3.5.1-{build}x-"))


def real_packages() -> list[Distribution]:
    """Return the packages of PyPI, downloaded before or now."""
    for requirement in (*REAL, *MORE.split()):
        _download(requirement)
    _download("requests==2.34.2", "--no-binary=:all:")
    for python in PYTHONS:
        for platform in PLATFORMS:
            _download(MANY_WHEELS, f"--python-version={python}", f"--platform={platform}")
    return [Distribution(file.name, file.read_bytes()) for file in sorted(FOLDER.glob("[!.]*"))]


def _download(requirement: str, *options: str) -> None:
    asked = "_".join((requirement, *options)).replace("=", "").replace(":", "")
    if (FOLDER / f".{asked}").exists():
        return
    kind = options if "--no-binary=:all:" in options else (*options, "--only-binary=:all:")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, *kind, f"--dest={FOLDER}", requirement], check=True)
    (FOLDER / f".{asked}").touch()
