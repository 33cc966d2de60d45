"""A static site in a browser: its scripts work with nothing but a plain web server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler

import pytest

from tests.browser.chromium import Browser
from tests.distributions import make_wheel
from tests.http_server import serving
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.team import Team


@contextmanager
def exported(team: Team) -> Iterator[str]:
    """Export the store of a team, and serve the site by a plain web server."""
    with ThreadPoolExecutor(1) as pool:  # the browser's event loop is in this thread
        assert pool.submit(team.export).result().failed == ()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(team.site))  # type: ignore[arg-type]

    with serving(Handler) as url:
        yield url


@pytest.fixture(scope="module")
def url(public: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an exported site."""
    team, kept = Team(tmp_path_factory.mktemp("team"), public), public_wheel("acme-public", "2.0")
    public.publish(kept)
    tags = (f"cp3{minor}-none-any" for minor in range(14))
    team.publish(
        *(make_wheel("acme-core", "1.0", "Provides-Extra: cli", tag=tag) for tag in tags),
        make_wheel("other", "1.0", "Import-Name: yaml"),
    )
    team.keep(kept)
    with exported(team) as url:
        yield url


def test_search_in_a_static_site(browser: Browser, url: str) -> None:
    """In an exported site the box finds private and public projects, and leads to their pages."""
    with browser.person(url) as person:
        for name in ("acme-core", "acme-public"):
            person.open()
            person.page.get_by_role("searchbox").fill("acme")
            person.page.wait_for_selector(".results:not([hidden])")
            assert person.page.locator(".results a").all_inner_texts() == [
                "acme-core",
                "acme-public",
            ]
            person.page.locator(".results").get_by_role("link", name=name).click()
            person.page.wait_for_url(f"**/project/{name}/")
            assert person.page.title().startswith(name)
        person.open()
        person.page.get_by_role("searchbox").fill("import yaml.reader")
        person.page.wait_for_selector(".results:not([hidden])")
        assert person.page.locator(".results a").all_inner_texts() == ["other"]


def test_chips_of_a_static_site(browser: Browser, url: str) -> None:
    """In an exported site the script answers the chips; without scripts there are none."""
    for has_scripts in (True, False):
        with browser.person(url, java_script_enabled=has_scripts) as person:
            person.open("project/acme-core/")
            chip = person.page.get_by_label("cli", exact=True)
            assert chip.is_visible() == has_scripts
            if has_scripts:
                chip.check()
                chip.press("Enter")
                line = person.page.locator(".panels code:visible").inner_text()
                assert line.endswith('"acme-core[cli]"')
                person.page.get_by_text("Pinned, with the hashes").click()
                assert "in which acme-core[cli] is to be the name" in person.text
                assert person.path == "/project/acme-core/"
