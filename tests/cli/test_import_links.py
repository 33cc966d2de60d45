"""Where `wheelyard import URL` goes when a page or a server leads it on."""

from collections.abc import Iterator

import pytest

from tests.cli.conftest import Typed
from tests.operations.making import make_wheel
from tests.sources.web.site import Answer, Site, running_site

pytestmark = pytest.mark.integration

OWN, LINKED, REDIRECTED = (make_wheel("demo", version) for version in ("1.0", "2.0", "3.0"))
PRIVATE = "its host has a private address; give --allow-private if it may be reached."


@pytest.fixture
def site() -> Iterator[Site]:
    """
    Run a stranger's index.

    It has a file of its own, a link to a host that the operator has not named, and a redirect to
    one.
    """
    with running_site() as running:
        hidden = f"http://localhost:{running.port}/hidden"
        running.page("/simple/", '<a href="demo/">demo</a>')
        links = [f"/{OWN.filename}", f"{hidden}/{LINKED.filename}", f"/{REDIRECTED.filename}"]
        running.page("/simple/demo/", "".join(f'<a href="{link}">x</a>' for link in links))
        running.file(f"/{OWN.filename}", OWN.body)
        running.file(f"/hidden/{LINKED.filename}", LINKED.body)
        there = {"Location": f"{hidden}/3.whl"}
        running.serve(f"/{REDIRECTED.filename}", Answer(status=302, headers=there))
        running.file("/hidden/3.whl", REDIRECTED.body)
        yield running


def hidden(site: Site) -> list[str]:
    """Return what was asked for below the host that nobody has named."""
    return [each.path for each in site.seen if each.path.startswith("/hidden/")]


def test_private_addresses(site: Site, wheelyard: Typed) -> None:
    """Links and redirects to a private address of another host are refused, and nothing is sent."""
    done = wheelyard("import", f"{site.url}/simple/")

    assert done.returncode == 1
    assert done.stdout == f"{site.url}/simple/: imported 1 file, 2 refused\n"
    refused = [line for line in done.stderr.splitlines() if "was not imported" in line]
    assert [line.partition(" It cannot be read: ")[2] for line in refused] == [PRIVATE] * 2
    assert hidden(site) == []


def test_allowed(site: Site, wheelyard: Typed) -> None:
    """With --allow-private they are followed."""
    done = wheelyard("import", "--allow-private", f"{site.url}/simple/")

    assert (done.returncode, done.stdout) == (0, f"{site.url}/simple/: imported 3 files\n")
    assert sorted(hidden(site)) == ["/hidden/3.whl", f"/hidden/{LINKED.filename}"]


def test_the_index_leads_elsewhere(site: Site, wheelyard: Typed) -> None:
    """An index that leads to a private address itself is no index, and what to do is said."""
    there = {"Location": f"http://localhost:{site.port}/hidden/"}
    site.serve("/simple/", Answer(status=301, headers=there))

    done = wheelyard("import", f"{site.url}/simple/")

    assert done.returncode == 1
    assert PRIVATE in done.stderr
    assert hidden(site) == []


def test_a_login_in_a_link(wheelyard: Typed) -> None:
    """A login that a page or a redirect writes into a link is sent to nobody."""
    with running_site() as site:
        login = site.url.replace("//", "//ana:secret@")
        site.page("/simple/demo/", f'<a href="{login}/go/{OWN.filename}">x</a>')
        there = {"Location": f"{login}/{OWN.filename}"}
        site.serve(f"/go/{OWN.filename}", Answer(status=302, headers=there))
        site.file(f"/{OWN.filename}", OWN.body)

        done = wheelyard("import", "--project", "demo", f"{site.url}/simple/")

    assert (done.returncode, done.stdout.count("imported 1 file")) == (0, 1)
    assert "secret" not in done.stdout + done.stderr
    assert [each.headers.get("authorization") for each in site.seen] == [None] * 3


def test_proxies_are_not_used(site: Site, wheelyard: Typed) -> None:
    """A proxy that the environment names is not asked: it would hide which address is reached."""
    with running_site() as proxy:
        proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), proxy.url)
        done = wheelyard("import", f"{site.url}/simple/", **proxies)

    assert "imported 1 file, 2 refused" in done.stdout
    assert proxy.seen == []


@pytest.mark.parametrize("source", ["packages", "gs://acme-packages"])
def test_a_source_without_links(wheelyard: Typed, source: str) -> None:
    """--allow-private is for a URL, and refused for anything else."""
    done = wheelyard("import", "--from", "files", "--allow-private", source)

    assert done.returncode == 1
    assert "--allow-private is for a URL" in done.stderr
