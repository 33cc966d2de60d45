"""Parsing of URLs that users and web pages contain."""

import pytest

from wheelyard.http_client.urls import MAX_URL_LENGTH, BadUrl, UserPassword, parse_url


@pytest.mark.parametrize(
    ("text", "without_userinfo"),
    [
        ("https://bücher.example/é", "https://xn--bcher-kva.example/%C3%A9"),
        ("http://BÜCHER.example:8080", "http://xn--bcher-kva.example:8080/"),
        ("https://Books.Example/a?b=ü", "https://books.example/a?b=%C3%BC"),
    ],
)
def test_letters_outside_ascii(text: str, without_userinfo: str) -> None:
    """A host with letters of any language is asked under its name for machines."""
    assert parse_url(text).without_userinfo == without_userinfo


@pytest.mark.parametrize(
    "host",
    ["[::1]", "[2001:db8:1111:2222:3333:4444:5555:6666]", "[::ffff:192.0.2.1]"],
    ids=["short", "long", "mapped"],
)
def test_addresses_of_ipv6(host: str) -> None:
    """An address of IPv6 is a host, and stays between brackets before a port."""
    assert parse_url(f"http://{host}:8080/a").without_userinfo == f"http://{host}:8080/a"


@pytest.mark.parametrize("host", ["ü" * 64, "a..ü", "ü\u2028b", "ü b", "\ud800"])
def test_letters_that_make_no_host(host: str) -> None:
    """Letters that no host can be made of are a URL that is refused, and no other fault."""
    with pytest.raises(BadUrl):
        parse_url(f"https://{host}.example/")


def test_logins_in_links() -> None:
    """A login that stands in a link is left out, also where the link is of the same server."""
    page = parse_url("http://ana:secret@index.example/simple/")

    assert page.login == UserPassword("ana", "secret")
    links = ("http://bob:secret@index.example/a", "//bob@other.example/a", "http://:b@x.example/")
    assert [page.resolved(each).login for each in links] == [None] * 3


@pytest.mark.parametrize(
    "text",
    [
        "http://index.example:0/",
        "file:///etc/passwd",
        "gopher://a/",
        "http://a%00b/",
        "http://a\x7fb/",
    ],
)
def test_what_is_no_url(text: str) -> None:
    """Nothing but http and https to a port that there can be is asked for."""
    with pytest.raises(ValueError, match="no URL"):
        parse_url(text)


def test_urls_that_are_too_long() -> None:
    """A URL or a link of any length is refused by a short message, and not looked through."""
    long = "http://index.example/" + "a" * MAX_URL_LENGTH

    with pytest.raises(BadUrl, match=r"^it is too long$"):
        parse_url(long)
    with pytest.raises(BadUrl, match=r"^it is too long$"):
        parse_url("http://index.example/simple/").resolved("../" * MAX_URL_LENGTH)
