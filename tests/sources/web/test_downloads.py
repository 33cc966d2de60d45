"""Files from a server that breaks off."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.fake_time import Clock
from tests.sources.offering import body_of, offered, opened
from tests.sources.web.fake_server import CannedResponse, FakeServer
from wheelyard.errors import Invalid, Unavailable
from wheelyard.sources.candidate import Candidate
from wheelyard.sources.source_factory import SourceRequest, open_source

BODY = bytes(range(256)) * 4096
PATH = "/pool/a-1.zip"


@pytest.fixture
def candidate(server: FakeServer) -> Iterator[Candidate]:
    """Yield a file of an index."""
    server.page("/simple/", '<a href="a/">a</a>')
    server.page("/simple/a/", f'<a href="{PATH}">a</a>')
    with opened(f"{server.url}/simple/") as source:
        (found,) = offered(source.candidates()).candidates
        yield found


def test_it_goes_on(server: FakeServer, candidate: Candidate) -> None:
    """A file that breaks off goes on where it was, as long as it is the same file."""
    parts = [
        CannedResponse(BODY, headers={"ETag": '"1"'}, breaks_at=breaks_at)
        for breaks_at in (100_000, 100_000, 500_000, None)
    ]
    server.serve(PATH, *parts)

    assert body_of(candidate) == BODY

    assert [each.headers.get("range") for each in server.asked(PATH)] == [
        None,
        "bytes=100000-",
        "bytes=100000-",
        "bytes=500000-",
    ]
    assert server.asked(PATH)[1].headers["if-range"] == '"1"'


@pytest.mark.parametrize("etags", [('"1"', '"2"'), ("W/1", "W/1")])
def test_bytes_of_two_files_are_never_mixed(
    server: FakeServer, candidate: Candidate, etags: tuple[str, str]
) -> None:
    """Bytes of two files are never mixed: where the rest may be another's, the file is refused."""
    first, second = etags
    server.serve(
        PATH,
        CannedResponse(BODY, headers={"ETag": first}, breaks_at=100_000),
        CannedResponse(BODY, headers={"ETag": second}),
    )

    with pytest.raises(OSError, match="broke off"):
        body_of(candidate)


@pytest.mark.parametrize(
    "answered", ["bytes 0-1048575/1048576", "bytes 100001-1048575/1048576", "bytes */1048576", ""]
)
def test_it_goes_on_elsewhere(server: FakeServer, candidate: Candidate, answered: str) -> None:
    """A file whose rest does not begin where the connection broke off is refused."""
    etag = {"ETag": '"1"'}
    server.serve(
        PATH,
        CannedResponse(BODY, headers=etag, breaks_at=100_000),
        CannedResponse(BODY[100_000:], 206, etag | {"Content-Range": answered}),
    )

    with pytest.raises(OSError, match="does not go on from there"):
        body_of(candidate)


def test_a_part_that_nobody_asked_for(server: FakeServer, candidate: Candidate) -> None:
    """A part of a file is not taken for the whole."""
    server.serve(PATH, CannedResponse(BODY[:9], 206, {"Content-Range": "bytes 0-8/1048576"}))

    with pytest.raises(OSError, match="status 206"):
        body_of(candidate)


def test_it_always_breaks_off(server: FakeServer, candidate: Candidate) -> None:
    """A file that never comes is refused, after some tries."""
    server.serve(PATH, CannedResponse(BODY, headers={"ETag": '"1"'}, breaks_at=1000))

    with pytest.raises(OSError, match="broke off"):
        body_of(candidate)

    assert len(server.asked(PATH)) < 10


def test_a_file_that_is_missing(server: FakeServer, candidate: Candidate) -> None:
    """A file that the server has not is refused, and others may follow."""
    server.serve(PATH, CannedResponse(status=404))

    with pytest.raises(OSError, match="status 404"):
        body_of(candidate)


def test_a_list_on_a_server(server: FakeServer) -> None:
    """dumb-pypi's list and its files are read from where it is served, and from nowhere else."""
    lines = '{"filename": "a-1.zip"}\n../private/b-1.zip\n//elsewhere.example/c-1.zip\n'
    server.page("/pypi/packages.json", lines, "application/json")
    server.file("/pypi/pool/a-1.zip", BODY, Last_Modified="Sat, 09 Jun 2018 23:26:45 GMT")

    with opened(f"{server.url}/pypi/packages.json", packages_url="../../pool/") as source:
        of_list = offered(source.candidates())
        (found,) = of_list.candidates
        assert body_of(found) == BODY

    assert source.kind == "dumb-pypi"
    assert [each.why for each in of_list.faults] == [
        "'../private/b-1.zip' is no filename",
        "'//elsewhere.example/c-1.zip' is no filename",
    ]
    assert found.location == f"{server.url}/pypi/pool/a-1.zip"


@pytest.mark.integration
def test_a_server_that_is_gone(server: FakeServer) -> None:
    """A server that stops answering is reported with its own error code."""
    server.page("/simple/", '<a href="a/">a</a>')
    server.page("/simple/a/", '<a href="http://127.0.0.1:9/a-1.zip">a</a>')

    with opened(f"{server.url}/simple/", Clock()) as source:
        (found,) = offered(source.candidates()).candidates
        with pytest.raises(Unavailable) as raised:
            body_of(found)

    assert raised.value.code == "source_unavailable"


@pytest.mark.parametrize("path", [PATH, "/simple/"])
def test_a_server_that_takes_for_ever(server: FakeServer, path: str) -> None:
    """A file that comes byte by byte is given up; so is an answer that never begins."""
    server.page("/simple/", '<a href="a/">a</a>')
    server.page("/simple/a/", f'<a href="{PATH}">a</a>')
    server.serve(PATH, CannedResponse(BODY))
    clock = Clock()
    source = open_source(SourceRequest(text=f"{server.url}/simple/"), clock.runtime())
    with closing(source):
        if path == "/simple/":
            clock.tick = 61.0
            with pytest.raises(Unavailable, match="does not answer"):
                list(source.candidates())
            return
        (found,) = offered(source.candidates()).candidates
        with found.read() as pieces:
            clock.tick = 100.0
            with pytest.raises(OSError, match="too slowly"):
                list(pieces)

    assert len(server.asked(PATH)) == 1


def test_a_server_that_breaks_off_before_a_minute(server: FakeServer) -> None:
    """A file of which each connection brings a few bytes is given up, as one that comes slowly."""
    server.page("/simple/", '<a href="a/">a</a>')
    server.page("/simple/a/", f'<a href="{PATH}">a</a>')
    parts = [
        CannedResponse(BODY, headers={"ETag": '"1"'}, breaks_at=100 * number)
        for number in range(1, 60)
    ]
    server.serve(PATH, *parts)
    clock = Clock()
    source = open_source(SourceRequest(text=f"{server.url}/simple/"), clock.runtime())
    with closing(source):
        (found,) = offered(source.candidates()).candidates
        clock.tick = 1.0
        with pytest.raises(OSError, match="broke off"):
            body_of(found)

    assert len(server.asked(PATH)) < 10


def test_a_list_that_is_missing(server: FakeServer) -> None:
    """A list that cannot be read is refused with why, and not taken for one without packages."""
    with (
        opened(f"{server.url}/packages.json", packages_url="/pool/") as source,
        pytest.raises(Invalid, match=r"packages\.json cannot be read: .*status 404") as raised,
    ):
        list(source.candidates())

    assert (raised.value.code, "Check where it is" in raised.value.message) == ("bad_source", True)
