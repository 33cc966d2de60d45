"""To whom a credential is shown, and where it never turns up."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.sources.offering import body_of, offered, opened
from tests.sources.web.fake_server import CannedResponse, FakeServer
from wheelyard.http_client.urls import UserPassword, parse_url, redact_url
from wheelyard.sources.index_client import SourceCredentials

WHEEL = "a-1-py3-none-any.whl"


def basic(username: str, password: str) -> str:
    """Return the Authorization header."""
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


ANA = basic("ana", "s e/cret")


def with_login(url: str, login: str = "ana:s%20e%2Fcret") -> str:
    """Return a URL with a credential in it."""
    return url.replace("//", f"//{login}@")


@pytest.fixture
def page_of_two_servers(
    server: FakeServer, other_server: FakeServer
) -> tuple[FakeServer, FakeServer]:
    """Make an index whose page links to its own file, and to one of another server."""
    server.page("/simple/", '<a href="a/">a</a>')
    server.page("/simple/a/", f'<a href="/{WHEEL}">a</a><a href="{other_server.url}/a-2.zip">b</a>')
    server.file(f"/{WHEEL}", b"wheel")
    other_server.file("/a-2.zip", b"other")
    return server, other_server


def read_all(url: str, login: UserPassword | None = None, netrc: Path | None = None) -> None:
    """Read every file of an index."""
    with opened(url, login=login, netrc=netrc) as source:
        for each in offered(source.candidates()).candidates:
            body_of(each)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("written", "expected"),
    [("", ("__token__", "t")), ("bob@", ("bob", "t")), ("bob:own@", ("bob", "own"))],
)
def test_beside_the_url(
    page_of_two_servers: tuple[FakeServer, FakeServer], written: str, expected: tuple[str, str]
) -> None:
    """A password that is given beside the URL goes with the name in it; one in it goes first."""
    server, other = page_of_two_servers

    url = f"{server.url}/simple/".replace("//", f"//{written}", 1)
    read_all(url, login=UserPassword("__token__", "t"))

    assert server.logins("/simple/") == server.logins(f"/{WHEEL}") == [basic(*expected)]
    assert other.logins("/a-2.zip") == [None]


@pytest.mark.integration
def test_netrc_is_for_its_host_alone(
    page_of_two_servers: tuple[FakeServer, FakeServer], home: Path, tmp_path: Path
) -> None:
    """The netrc file's credential is sent to its host; the `default` entry is ignored."""
    server, _ = page_of_two_servers
    (home / ".netrc").write_text("machine 127.0.0.1 login ana password known\n")
    read_all(f"{server.url}/simple/")
    assert server.logins("/simple/") == [basic("ana", "known")]

    elsewhere = tmp_path / "netrc"
    elsewhere.write_text("default login ana password secret\n")
    read_all(f"{server.url}/simple/", netrc=elsewhere)
    assert server.logins("/simple/")[1:] == [None]

    elsewhere.write_text("machine\n")
    read_all(f"{server.url}/simple/", netrc=elsewhere)
    assert server.logins("/simple/")[2:] == [None]


@pytest.mark.parametrize(
    ("url", "is_shown"),
    [
        ("https://index.example:8443/a", True),
        ("https://index.example/a", True),
        ("https://files.example/a", True),
        ("https://index.example:9443/a", False),
        ("https://files.example:8443/a", False),
        ("http://files.example/a", False),
        ("http://index.example:8443/a", False),
        ("http://files.example:443/a", False),
        ("https://index.example./a", False),
        ("https://other.example/a", False),
        ("https://ana:own@other.example/a", False),
    ],
)
def test_netrc_by_port(url: str, *, is_shown: bool) -> None:
    """What the netrc file has for a host is for https on its usual port, and for the index."""
    known = UserPassword("ana", "known")
    index = parse_url("https://index.example:8443/simple/")
    credentials = SourceCredentials(index, None, {"index.example": known, "files.example": known})

    expected = basic("ana", "known") if is_shown else None
    assert credentials.authorization(parse_url(url)) == expected


@pytest.mark.parametrize(
    ("name", "password"), [("ana", "known"), ("bob", "")], ids=["the same user", "another user"]
)
def test_netrc_has_the_password_of_a_user(name: str, password: str) -> None:
    """A user name in the URL gets its password from the netrc file, and never that of another."""
    index = parse_url(f"https://{name}@index.example/simple/")
    credentials = SourceCredentials(index, None, {"index.example": UserPassword("ana", "known")})

    assert credentials.authorization(index) == basic(name, password)


@pytest.mark.parametrize(
    ("url", "is_shown"),
    [
        ("https://index.example/files/a", True),
        ("https://bob:x@index.example/files/a", True),
        ("https://index.example:444/a", False),
        ("http://index.example/a", False),
        ("http://index.example:443/a", False),
        ("https://index.example.evil.example/a", False),
        ("https://bob:x@other.example/a", False),
    ],
)
@pytest.mark.parametrize("is_in_url", [True, False])
def test_a_credential_goes_to_its_origin_alone(
    url: str, *, is_shown: bool, is_in_url: bool
) -> None:
    """The credential of the index goes to its scheme, host and port, and to nothing like them."""
    login = "ana:own@" if is_in_url else ""
    index = parse_url(f"https://{login}index.example/simple/")
    credentials = SourceCredentials(index, None if is_in_url else UserPassword("ana", "own"))

    expected = basic("ana", "own") if is_shown else None
    assert credentials.authorization(parse_url(url)) == expected


@pytest.mark.integration
def test_a_redirect_takes_no_credential_along(
    page_of_two_servers: tuple[FakeServer, FakeServer],
) -> None:
    """A redirect is followed, and a credential is not taken along to another server."""
    server, other = page_of_two_servers
    server.serve("/old/", CannedResponse(status=301, headers={"Location": "../simple/"}))
    server.serve(
        f"/{WHEEL}", CannedResponse(status=302, headers={"Location": f"{other.url}/w?sig=1"})
    )
    other.file("/w", b"wheel")

    read_all(with_login(f"{server.url}/old"))

    assert server.logins("/simple/") == [ANA]
    assert server.logins("/simple/a/") == [ANA]
    assert other.logins("/w") == [None]


@pytest.mark.integration
def test_what_is_shown(server: FakeServer) -> None:
    """No report names a credential, and no signed URL in full."""
    server.page("/simple/", '<a href="a/">a</a><a href="b/">b</a>')
    server.page("/simple/a/", f'<a href="{with_login(server.url)}/{WHEEL}?signature=s3cret">a</a>')

    with opened(with_login(f"{server.url}/simple/")) as source:
        found = offered(source.candidates())
        (candidate,) = found.candidates
        with pytest.raises(OSError, match="status 404") as raised:
            body_of(candidate)
        redact_url = repr((candidate, found.passed_over, source, str(raised.value)))

    assert candidate.location == f"{server.url}/{WHEEL}"
    assert server.asked(f"/{WHEEL}")[0].path == f"/{WHEEL}?signature=s3cret"
    assert not any(word in redact_url for word in ("cret", "s%20e", "s3cret"))


@pytest.mark.integration
def test_a_credential_of_a_list_is_not_for_files_elsewhere(
    server: FakeServer, other_server: FakeServer, tmp_path: Path
) -> None:
    """What is for the server of a list goes to its files there, and to files elsewhere never."""
    login = UserPassword("ana", "s e/cret")
    for each in (server, other_server):
        each.page("/packages.json", "a-1.zip\n", "text/plain")
        each.file("/pool/a-1.zip", b"x")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ana password known\n")

    def read(packages: str, **request: Any) -> None:  # noqa: ANN401 - of SourceRequest
        text = request.pop("text", f"{server.url}/packages.json")
        with opened(text, packages_url=packages, **request) as source:
            body_of(*offered(source.candidates()).candidates)

    read(f"{other_server.url}/pool/", login=login)
    read(f"{other_server.url}/pool/", netrc=netrc)
    assert other_server.logins("/pool/a-1.zip") == [None, None]
    assert server.logins("/packages.json") == [ANA, basic("ana", "known")]
    read(f"{server.url}/pool/", login=login)
    read("../../pool/", text=with_login(f"{server.url}/packages.json"))
    assert server.logins("/pool/a-1.zip") == [ANA, ANA]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://bob:s3cret@host/simple/", "http://host/simple/"),
        ("HTTPS://bob:s3cret@host:99/simple/?token=s3cret#s3cret", "https://host:99/simple/"),
        (" https://bob:s3cret@host/", "https://host/"),
        ("https://bob:s3/cret@host/", "https:..."),
        ("https://bob:s3cret@ho st/?u=a@b&token=s3cret", "https:..."),
        ("https://ho st/?token=s3cret", "https:..."),
        ("ftp://bob:s3cret@host/", "ftp:..."),
        ("http:/bob:s3cret@host/", "http:..."),
        ("bob:s3cret@host/simple", "...host/simple"),
        ("gs://bucket/a@b", "gs://bucket/a@b"),
        ("/srv/old@here", "/srv/old@here"),
    ],
)
def test_what_is_shown_of_a_source(text: str, expected: str) -> None:
    """Neither credentials nor the query of a source's URL are shown."""
    assert redact_url(text) == expected
