"""Addresses that a stranger's page or server must not lead to."""

import json

import pytest

from tests.sources.offering import body_of, offered, opened, taken
from tests.sources.web.site import JSON, Answer, Site
from wheelyard.errors import Invalid

pytestmark = pytest.mark.integration

PRIVATE = "its host has a private address; give --allow-private if it may be reached"
PLACES = [
    "http://localhost:{port}/hidden/a-1.zip",
    "//ana:secret@localhost:{port}/hidden/a-1.zip",
    "http://127.0.0.2:{port}/hidden/a-1.zip",
    "http://2130706433:{port}/hidden/a-1.zip",
    "http://0x7f.1:{port}/hidden/a-1.zip",
    "http://0177.0.0.1:{port}/hidden/a-1.zip",
    "http://127.1:{port}/hidden/a-1.zip",
    "http://0:{port}/hidden/a-1.zip",
    "http://0.0.0.0:{port}/hidden/a-1.zip",
    "http://[::1]:{port}/hidden/a-1.zip",
    "http://[::]:{port}/hidden/a-1.zip",
    "http://[::ffff:127.0.0.1]:{port}/hidden/a-1.zip",
    "http://[64:ff9b::7f00:1]:{port}/hidden/a-1.zip",
    "http://\uff11\uff12\uff17\u30020\u30020\u30022:{port}/hidden/a-1.zip",
    "http://169.254.169.254/computeMetadata/v1/a-1.zip",
    "https://169.254.169.254/computeMetadata/v1/a-1.zip",
    "http://168.63.129.16/a-1.zip",
    "http://10.0.0.1/a-1.zip",
    "http://100.64.0.1/a-1.zip",
    "http://224.0.0.1/a-1.zip",
    "http://[fd00:ec2::254]/a-1.zip",
]


@pytest.mark.parametrize("place", PLACES, ids=ascii)
def test_links(site: Site, place: str) -> None:
    """However a private address is written in a link, nothing is asked there."""
    linked = {"filename": "a-1.zip", "url": place.format(port=site.port), "hashes": {}}
    site.page("/simple/a/", json.dumps({"files": [linked]}), JSON)

    with opened(f"{site.url}/simple/", projects=("a",)) as source:
        (candidate,) = offered(source.offers()).candidates
        with pytest.raises(OSError, match=PRIVATE):
            body_of(candidate)
        assert candidate.dated is not None
        assert candidate.dated() is None

    assert [each.path for each in site.seen] == ["/simple/a/"]


@pytest.mark.parametrize("place", [each for each in PLACES if each.isascii()])
def test_redirects(site: Site, place: str) -> None:
    """However a private address is written in a redirect of a file, nothing is asked there."""
    there = {"Location": place.format(port=site.port)}
    site.page("/simple/a/", '<a href="/a-1.zip">a</a>')
    site.serve("/a-1.zip", Answer(status=307, headers=there))

    with opened(f"{site.url}/simple/", projects=("a",)) as source:
        (candidate,) = offered(source.offers()).candidates
        with pytest.raises(OSError, match=PRIVATE):
            body_of(candidate)

    assert [each.path for each in site.seen] == ["/simple/a/", "/a-1.zip"]


def test_pages(site: Site) -> None:
    """A project's page that leads there is a fault, and an index that does is none."""
    there = Answer(status=301, headers={"Location": f"http://localhost:{site.port}/hidden/"})
    site.page("/simple/", f'<base href="http://localhost:{site.port}/hidden/"><a href="b/">b</a>')
    site.serve("/simple/a/", there)
    site.serve("/moved/", there)

    (fault,) = taken(f"{site.url}/simple/", projects=("a",))[1].faults
    assert fault.why == PRIVATE
    (fault,) = taken(f"{site.url}/simple/")[1].faults
    assert (fault.place, fault.why) == (f"http://localhost:{site.port}/hidden/b/", PRIVATE)
    with pytest.raises(Invalid, match=PRIVATE):
        taken(f"{site.url}/moved/")
    assert not any("hidden" in each.path for each in site.seen)


def test_a_list(site: Site, other: Site) -> None:
    """The host of a list and that of its files are named; a redirect is followed to no other."""
    site.page("/packages.json", "a-1.zip\n", "text/plain")
    pool = f"http://localhost:{other.port}/pool/"
    other.file("/pool/a-1.zip", b"x")

    with opened(f"{site.url}/packages.json", packages_url=pool) as source:
        (candidate,) = offered(source.offers()).candidates
        assert body_of(candidate) == b"x"

    there = {"Location": f"http://127.1:{other.port}/pool/a-1.zip"}
    site.serve("/pool/a-1.zip", Answer(status=302, headers=there))
    with opened(f"{site.url}/packages.json", packages_url=f"{site.url}/pool/") as source:
        (candidate,) = offered(source.offers()).candidates
        with pytest.raises(OSError, match=PRIVATE):
            body_of(candidate)
    assert len(other.seen) == 1
