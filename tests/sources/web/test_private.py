"""Addresses that a stranger's page or server must not lead to."""

import json

import pytest

from tests.sources.offering import body_of, offered, opened, taken
from tests.sources.web.fake_server import JSON, CannedResponse, FakeServer
from wheelyard.errors import Invalid

PRIVATE = "has a private address; give --allow-private if it may be reached"
PLACES = [
    "http://localhost:{port}/hidden/a-1.zip",
    "//ana:secret@localhost:{port}/hidden/a-1.zip",
    "http://0x7f.1:{port}/hidden/a-1.zip",
    "http://[::ffff:127.0.0.1]:{port}/hidden/a-1.zip",
    "https://169.254.169.254/computeMetadata/v1/a-1.zip",
]
"""Some ways to write one; tests/outgoing has more."""


@pytest.mark.parametrize("location", PLACES)
@pytest.mark.parametrize("is_redirect", [True, False])
def test_no_file_at_a_private_address_is_asked_for(
    server: FakeServer, location: str, *, is_redirect: bool
) -> None:
    """However a private address is written in a link or a redirect, nothing is asked there."""
    there = location.format(port=server.port)
    server.serve("/a-1.zip", CannedResponse(status=307, headers={"Location": there}))
    linked = {"filename": "a-1.zip", "url": "/a-1.zip" if is_redirect else there, "hashes": {}}
    server.page("/simple/a/", json.dumps({"files": [linked]}), JSON)

    with opened(f"{server.url}/simple/", projects=("a",)) as source:
        (candidate,) = offered(source.candidates()).candidates
        with pytest.raises(OSError, match=PRIVATE):
            body_of(candidate)

    assert {each.path for each in server.seen} <= {"/simple/a/", "/a-1.zip"}


def test_no_page_at_a_private_address_is_asked_for(server: FakeServer) -> None:
    """A project's page at a private address is a fault; an index that moved to one is refused."""
    there = CannedResponse(
        status=301, headers={"Location": f"http://localhost:{server.port}/hidden/"}
    )
    server.page(
        "/simple/", f'<base href="http://localhost:{server.port}/hidden/"><a href="b/">b</a>'
    )
    server.serve("/simple/a/", there)
    server.serve("/moved/", there)

    (fault,) = taken(f"{server.url}/simple/", projects=("a",))[1].faults
    assert fault.why == f"its host localhost {PRIVATE}"
    (fault,) = taken(f"{server.url}/simple/")[1].faults
    assert fault.location == f"http://localhost:{server.port}/hidden/b/"
    assert fault.why == f"its host localhost {PRIVATE}"
    with pytest.raises(Invalid, match=PRIVATE):
        taken(f"{server.url}/moved/")
    assert not any("hidden" in each.path for each in server.seen)


def test_a_list_leads_to_no_other_private_host(
    server: FakeServer, other_server: FakeServer
) -> None:
    """The host of a list and that of its files are named; a redirect is followed to no other."""
    server.page("/packages.json", "a-1.zip\n", "text/plain")
    pool = f"http://localhost:{other_server.port}/pool/"
    other_server.file("/pool/a-1.zip", b"x")

    with opened(f"{server.url}/packages.json", packages_url=pool) as source:
        (candidate,) = offered(source.candidates()).candidates
        assert body_of(candidate) == b"x"

    there = {"Location": f"http://127.1:{other_server.port}/pool/a-1.zip"}
    server.serve("/pool/a-1.zip", CannedResponse(status=302, headers=there))
    with opened(f"{server.url}/packages.json", packages_url=f"{server.url}/pool/") as source:
        (candidate,) = offered(source.candidates()).candidates
        with pytest.raises(OSError, match=PRIVATE):
            body_of(candidate)
    assert len(other_server.seen) == 1
