"""Parsing of URLs that users and web pages contain."""

import pytest

from wheelyard.http_client.urls import BadUrl, parse_url


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


@pytest.mark.parametrize("host", ["ü" * 64, "a..ü", "ü\u2028b", "ü b", "\ud800"])
def test_letters_that_make_no_host(host: str) -> None:
    """Letters that no host can be made of are a URL that is refused, and no other fault."""
    with pytest.raises(BadUrl):
        parse_url(f"https://{host}.example/")
