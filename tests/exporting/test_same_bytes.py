"""Live and static: the same bytes, given the same settings."""

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from tests.exporting.export_fixture import export_to, publish, stock
from tests.exporting.sites import BASE, broken, pages_of, tree
from tests.http.in_process import InProcessServer, in_process
from tests.http.packages import wheel
from tests.model.test_brand import LOGO
from tests.upstream.conftest import upstream as _upstream
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.settings import upstream_section
from wheelyard.exporting.manifest import RequestedOptions
from wheelyard.settings.sections import (
    AccessSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    WebSettings,
)
from wheelyard.storage.local import LocalStore
from wheelyard.wiring.index import open_index

pytestmark = pytest.mark.integration
upstream = _upstream

LARGE = [wheel("large", "1.0", tag=f"cp3{number}-none-any") for number in range(110)]
"""A release whose files are on several pages, and whose history is, too."""
LINKED = (
    wheel("app", "1.0", "Requires-Dist: demo>=1", "Requires-Dist: Absent; extra == 'x'"),
    wheel("demo", "0.9", "Requires-Dist: app", "Description-Content-Type: text/markdown"),
)
"""Releases with links to other projects, and to one that is not there."""
V1_JSON = "application/vnd.pypi.simple.v1+json"
ONE = ("1.0",)
RELEASES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("a", "a-b", "a0", "app", "bare", "half-gone", "large"), ONE),
    **dict.fromkeys(("old", "oldest", "zope-2-x"), ONE),
    **dict.fromkeys(("gone", "kept-in"), ()),
    "demo": ("0.9", "1!2.0+cu121.x", "1.0", "1.1"),
    "many": tuple(f"{number}.0" for number in range(30)),
    "only-source": ("0.1.dev3",),
}
"""The projects and releases whose pages exporters have made since version 0.1."""


def expected_pages() -> Iterator[str]:
    """Yield the paths of the pages that an exporter of version 0.1 made for these releases."""
    yield from ("index.html", "search.json", "feed.xml", "setup/index.html", "404.html")
    yield from ("favicon.ico", "robots.txt", "health", "simple/index.html", "simple/index.json")
    for name, versions in RELEASES.items():
        yield from (f"simple/{name}/index.html", f"simple/{name}/index.json")
        yield from (f"project/{name}/{page}" for page in ("feed.xml", "history/index.html"))
        yield f"project/{name}/index.html"
        yield from (f"project/{name}/{version}/index.html" for version in versions)
        if versions:
            yield f"pypi/{name}/json"
    yield "project/large/history/1/index.html"


def asked_live(path: str) -> tuple[str, str]:
    """Return the path of a page on a server, and the form that it is asked for in."""
    folder, _, page = path.rpartition("/")
    if path.startswith("simple/") and page == "index.json":
        return f"/{folder}/", V1_JSON
    if page == "index.html":
        return (f"/{folder}/" if folder else "/"), "text/html"
    return f"/{path}", "*/*"


def differing(server: InProcessServer, site: dict[str, bytes]) -> list[str]:
    """Return the paths of a site for which the server answers with something else."""
    paths = []
    for path, body in site.items():
        live, accept = asked_live(path)
        answer = server.get(quote(live), ("accept", accept), takes_paths=False)
        if (answer.status, answer.body) != (200, body):
            paths.append(path)
    return paths


def test_a_private_index_with_an_upstream(tmp_path: Path, upstream: FakeUpstream) -> None:
    """A site is what an open server answers with over the same store, and nothing is missing."""
    store, site_folder = tmp_path / "store", tmp_path / "site"
    (tmp_path / "logo.svg").write_bytes(LOGO)
    private = Settings(
        server=ServerSettings(public_url=BASE),
        store=StoreSettings(location=str(store)),
        access=AccessSettings(private=True),
        web=WebSettings(name="Acme & Söhne", accent="#c2185b", logo=str(tmp_path / "logo.svg")),
        upstream=upstream_section(upstream, check_upload=False),
    )
    index = open_index(private)
    stock(index, tmp_path)
    publish(index, tmp_path, *LARGE, *LINKED)

    export_to(open_index(private), site_folder, RequestedOptions())

    site = tree(site_folder)
    of_files = {path for path in site if path.startswith("project/large/1.0/files/")}
    assert len(of_files) > 10
    assert pages_of(site) - of_files == set(expected_pages())
    assert broken(site) == []
    for absent in ("gone/", "kept-in/", "half_gone-2.0"):
        assert [path for path in site if path.startswith("files/") and f"/{absent}" in path] == []
    (logo,) = set(re.findall(rb'"\./(-/assets/logo-\w+\.\w+)"', site["index.html"]))
    assert site[logo.decode()] == LOGO
    # nobody publishes to a site, and for what is not there a server has other answers
    for path in ("index.html", "setup/index.html", "404.html"):
        assert b"Acme &amp; S" in site.pop(path)
    opened, objects = replace(private, access=AccessSettings()), LocalStore(store, Random(1))
    with in_process(tmp_path / "live", opened, store=objects) as server:
        assert differing(server, site) == []
