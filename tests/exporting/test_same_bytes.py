"""Live and static: the same bytes, given the same settings."""

import re
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from tests.distributions import make_wheel
from tests.exporting.export_fixture import export_to, publish, stock
from tests.exporting.sites import BASE, broken, tree
from tests.http.in_process import in_process
from tests.model.test_brand import LOGO
from tests.upstream.conftest import upstream as _upstream
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import upstream_section
from tests.upstream.team import Team
from wheelyard.exporting.site_folder import RequestedOptions
from wheelyard.settings.sections import (
    AccessSettings,
    DownloadSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    WebSettings,
)
from wheelyard.storage.local import LocalStore
from wheelyard.wiring.build import open_index

pytestmark = pytest.mark.integration
upstream = _upstream

PUBLIC = public_wheel("idna", "3.10"), public_wheel("idna", "2.0")
LARGE = [make_wheel("large", "1.0", tag=f"cp3{number}-none-any") for number in range(110)]
"""A release with many files, and a history on several pages."""
LINKED = (
    make_wheel("app", "1.0", "Requires-Dist: demo>=1", "Requires-Dist: Absent; extra == 'x'"),
    make_wheel("demo", "0.9", "Requires-Dist: app", "Description-Content-Type: text/markdown"),
)
"""Releases with links to other projects, and to one that is not there."""
LIVE = re.compile(
    rb'<a href="[^>]*>Help</a>\n'
    rb'|<form class="fields".*?</form>\n'
    rb'|<p><a href="../compare/">Compare two releases</a></p>\n'
    rb"|<noscript>.*?</noscript>\n"
    rb'|<a href="[^">]*/downloads/">Downloads</a>\n'
    rb'|<section aria-labelledby="downloads">.*?</section>\n'
    rb"|( data-static)? hidden(?=>)"
    rb'| static(?=" data-chips)| data-extras(?=>)',
    re.DOTALL,
)
"""What only a server answers to, or only a script of a site."""
SETUP = re.compile(rb"setup/\?project=[a-z0-9-]+&amp;client=")
NEWEST = re.compile(rb"The (?:newest stable|latest) release is [^<]+")
NAMES = {
    *("a", "a-b", "a0", "app", "bare", "demo", "gone", "half-gone", "idna", "kept-in", "large"),
    *("many", "old", "oldest", "only-source", "zope-2-x"),
}


def test_a_site_has_the_bytes_of_an_open_server(tmp_path: Path, upstream: FakeUpstream) -> None:
    """A site is what an open server answers with over the same store, and nothing is missing."""
    (tmp_path / "logo.svg").write_bytes(LOGO)
    private = Settings(
        server=ServerSettings(public_url=BASE),
        store=StoreSettings(location=str(tmp_path / "store")),
        access=AccessSettings(private=True),
        web=WebSettings(name="Acme & Söhne", accent="#c2185b", logo=str(tmp_path / "logo.svg")),
        upstream=upstream_section(upstream, check_upload=False),
    )
    team = Team(tmp_path, upstream)
    with team.index(check_upload=False) as index:
        stock(index, tmp_path)
        publish(index, tmp_path, *LARGE, *LINKED)
    upstream.publish(*PUBLIC)
    team.keep(*PUBLIC)

    export_to(open_index(private), team.site, RequestedOptions())

    site = tree(team.site)
    # all else is linked to, and no link is broken
    assert {path.split("/")[1] for path in site if path.endswith("/index.json")} == NAMES | {
        "index.json"
    }
    with_files = {path.split("/")[1] for path in site if path.startswith("pypi/")}
    assert with_files == NAMES - {"gone", "kept-in"}
    assert {"health", "robots.txt", "project/large/history/1/index.html"} < site.keys()
    assert b"1.0 \\\n    --hash=sha256:" in site["project/large/1.0/requirements.txt"]
    assert broken(site) == []
    # a site has all files of a release on one page, as nobody answers its form
    for folder in ("project/large/", "project/large/1.0/"):
        assert site.pop(f"{folder}files/index.html").count(b".whl</a>") == len(LARGE)
    for absent in ("gone/", "kept-in/", "half_gone-2.0"):
        assert [path for path in site if path.startswith("files/") and f"/{absent}" in path] == []
    (logo,) = set(re.findall(rb'"\./(-/assets/logo-\w+\.\w+)"', site["index.html"]))
    assert site[logo.decode()] == LOGO
    # nobody publishes to a site, and for what is not there a server has other answers
    for path in ("index.html", "setup/index.html", "404.html"):
        assert b"Acme &amp; S" in site.pop(path)
    opened = replace(private, access=AccessSettings(), downloads=DownloadSettings(count=False))
    store = LocalStore(team.store, Random(1))
    with in_process(tmp_path / "live", opened, store=store) as server:
        for path, body in site.items():
            live, accept = f"/{path}".removesuffix("index.html"), "text/html"
            if path.endswith("/index.json"):
                live = f"/{path}".removesuffix("index.json")
                accept = "application/vnd.pypi.simple.v1+json"
            answer = server.get(quote(live), ("accept", accept))
            assert answer.status == 200
            assert without_live_parts(answer.body) == without_live_parts(body), path


def without_live_parts(body: bytes) -> bytes:
    """Return a page without the parts that differ between a server and a static site."""
    body = NEWEST.sub(b"To the latest release", SETUP.sub(b"setup/#", LIVE.sub(b"", body)))
    body = re.sub(rb',"_last-serial":\d+', b"", body)
    body = re.sub(rb'"last_serial":\d+', b'"last_serial":0', body)
    return re.sub(rb'("url":"[^"]*/)packages/', rb"\1files/", body)
