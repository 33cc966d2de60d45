"""The page to which a person returns after signing in."""

from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.http.forms import MAX_PATH_CHARS, local_path, referring_page, sign_in_url
from wheelyard.settings.sections import ServerSettings

HOST = "index.example"
SERVERS = (
    ServerSettings(),
    ServerSettings(path_prefix="/team"),
    ServerSettings(public_url=f"https://{HOST}/team"),
)
ABOVE = (
    "..",
    "%2e%2e",
    ".%2E",
    "%252e%252e",
    "%25252e%25252e",
    "..;",
    "..;x=1",
    "..%3b",
    "..%5c",
    "%2e%2e%2f",
    "..%00",
    "%c0%ae%c0%ae",
    "..%09",
)
"""Spellings of the folder above, for one reader or another."""
PARTS = ("/", "\\", "//", ".", "..", ":", "@", "?", "#", "%2f", "%5c", "\t", "\n", " ", "team", "-")
SEGMENTS = st.lists(
    st.sampled_from(("/.", "/%2e", "/%252E", "/.;x", "/", "/%09", "/%5c.", "/\t", "/\\")),
    max_size=3,
)
SPELLINGS = (
    st.sampled_from(("", "/dev", "/dev/2026-10-31")),
    SEGMENTS.map("".join),
    st.sampled_from(("/-", "/%2d", "/%2D", "/%252d")),
    SEGMENTS.map("".join),
    st.sampled_from(("/sign-out", "/sign%2dout", "/%73ign-out", "/s%69gn%252Din", "/sign-in/acme")),
    st.sampled_from(("", "/", "/.", "/%2e", ";x", "%3b", "?a=b", "%3Fa", "/?next=/")),
)
"""The parts of the path of a page to sign in or out, of one index or another."""
LINKS = st.lists(st.sampled_from((*PARTS, "https:", "evil.example", "sign-in", "é")), max_size=8)


def is_here(location: str, server: ServerSettings) -> bool:
    """Return whether a browser that is sent to a location stays on the index."""
    read = location.replace("\\", "/").replace("\t", "").replace("\n", "").strip()
    found = urlsplit(urljoin(f"https://{HOST}/team/-/sign-in/", read))
    return (found.scheme, found.netloc) == ("https", HOST) and read.startswith(server.public_path)


@given(LINKS.map("".join) | st.text(max_size=40), st.sampled_from(SERVERS))
def test_no_link_leads_to_another_site(text: str, server: ServerSettings) -> None:
    """Whatever a link to the sign-in page says, it leads to a page of this index."""
    target = local_path(text, server)

    assert is_here(target, server)
    assert target.isascii()
    assert target.isprintable()
    assert local_path(target, server) == target


@given(LINKS.map("".join), st.sampled_from(SERVERS))
def test_no_referer_leads_to_another_site(text: str, server: ServerSettings) -> None:
    """The page from which a link was followed leads nobody to another site after signing in."""
    headers = {b"host": HOST.encode(), b"referer": f"https://{HOST}{text}".encode()}
    assert is_here(referring_page(headers, server), server)
    assert is_here(referring_page({**headers, b"referer": text.encode()}, server), server)


@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(SERVERS))
def test_the_link_names_the_page(path: bytes, query: bytes, server: ServerSettings) -> None:
    """The link to the sign-in page is one path, whatever path was asked for."""
    link = sign_in_url(b"/" + path, query, server)

    head, _, target = link.partition("?next=")
    assert head == f"{server.public_path}/-/sign-in/"
    assert local_path(unquote(target), server) == unquote(target)
    assert not {'"', "<", " ", "&", "?"} & set(target)


def test_no_secret_is_in_a_link() -> None:
    """The query of a page is kept in the link, unless it seems to have a secret."""
    server = ServerSettings()
    kept = sign_in_url(b"/project/x/", b"page=2", server)
    assert kept == "/-/sign-in/?next=/project/x/%3Fpage%3D2"
    assert sign_in_url(b"/", b"q=wyd_0123", server) == "/-/sign-in/?next=/"


@given(
    st.lists(st.sampled_from(("a", "%2f", "project", "1.0")), max_size=3),
    st.sampled_from(ABOVE),
    st.sampled_from(("", "/", "/admin/", "/%2e%2e/", "?q=1")),
    st.sampled_from(SERVERS),
)
def test_no_link_leads_above_the_index(
    parts: list[str], above: str, rest: str, server: ServerSettings
) -> None:
    """No spelling of the folder above leads to another service of the same host."""
    text = "/".join((server.public_path, *parts, above)) + rest

    assert local_path(text, server) == f"{server.public_path}/"


@pytest.mark.parametrize("server", SERVERS, ids=["host", "prefix", "public URL"])
def test_no_part_of_a_page_is_a_page_to_return_to(server: ServerSettings) -> None:
    """A path with a fragment, which no server is asked for, leads to the home page."""
    for path in ("/#", "/project/a/#files", "/?q=#x"):
        assert local_path(server.public_path + path, server) == f"{server.public_path}/"


@pytest.mark.parametrize(
    "query",
    ["?q=a\r\nSet-Cookie:x", "?q=a b", "?q=\u00e9", "?q=\\", f"?q={'a' * MAX_PATH_CHARS}"],
    ids=["second-line", "blank", "not-ascii", "backslash", "long"],
)
@pytest.mark.parametrize("server", SERVERS, ids=["host", "prefix", "public URL"])
def test_no_query_that_is_long_or_needs_quoting_is_returned_to(
    query: str, server: ServerSettings
) -> None:
    """A page whose query is long, or is not as a browser sends it, leads to the home page."""
    assert local_path(f"{server.public_path}/{query}", server) == f"{server.public_path}/"


def test_page_of_the_index_is_kept() -> None:
    """Pages with every character of a version or a search come back as they were."""
    for path in (
        "/project/a-b/1.0%2Blocal.1/",
        "/project/a-b/1!2.0+x/",
        "/?q=../%2e%2e//x",
        "/project/a-b/?page=2&x=%252e",
        "/-/account/tokens/",
    ):
        for server in SERVERS:
            assert local_path(server.public_path + path, server) == server.public_path + path


@given(st.tuples(*SPELLINGS).map("".join), st.sampled_from(SERVERS))
def test_nobody_is_led_to_sign_in_or_out(path: str, server: ServerSettings) -> None:
    """No spelling of the pages to sign in and out, of any index, is a page to return to."""
    assert local_path(server.public_path + path, server) == f"{server.public_path}/"


def test_path_of_the_public_url_never_names_a_host() -> None:
    """A public URL with doubled slashes or odd characters still gives a path of its host."""
    paths = {
        "https://a.example": "",
        "https://a.example/": "",
        "https://a.example//evil.example/": "/evil.example",
        "https://a.example/te;am/é": "/te%3Bam/%C3%A9",
    }
    for url, path in paths.items():
        assert ServerSettings(public_url=url).public_path == path
