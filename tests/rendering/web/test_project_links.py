"""People and links of core metadata."""

import re
from email.header import Header

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wheelyard.model.metadata import parse_metadata
from wheelyard.rendering.metadata_contacts import decode_addresses, decode_words, people
from wheelyard.rendering.web.core_metadata import project_links


@pytest.mark.parametrize(
    ("names", "mails", "shown"),
    [
        ("Ann", "ann@x.example", [("Ann", "mailto:ann@x.example")]),
        ("Ann, Bob", "a@x.example", [("Ann, Bob", ""), ("a@x.example", "mailto:a@x.example")]),
        (
            "Ann",
            "a@x.example, b@x.example",
            [
                ("Ann", ""),
                ("a@x.example", "mailto:a@x.example"),
                ("b@x.example", "mailto:b@x.example"),
            ],
        ),
        (  # as uv_build writes four authors, of which one has no address and one no name
            "Ann Example, Bob, Jr., Zo\u00eb",
            "Ann Example <ann@x.example>, Zo\u00eb <zoe@x.example>, only@x.example",
            [
                ("Bob, Jr.", ""),
                ("Ann Example", "mailto:ann@x.example"),
                ("Zo\u00eb", "mailto:zoe@x.example"),
                ("only@x.example", "mailto:only@x.example"),
            ],
        ),
        ("Eve, Doe, J", '"doe, j" <j@x.example>', [("Eve", ""), ("doe, j", "mailto:j@x.example")]),
        (None, "Ann B <ann@x.example>", [("Ann B", "mailto:ann@x.example")]),
        ("Ann B", "Ann B <ann@x.example>", [("Ann B", "mailto:ann@x.example")]),
        (
            "Ann, Bob",
            '"Bob, Jr" <bob@x.example>',
            [("Ann, Bob", ""), ("Bob, Jr", "mailto:bob@x.example")],
        ),
        ("The Team", None, [("The Team", "")]),
        (None, "no address", [("no address", "")]),
        (None, '"Unclosed <x@y.example>', [("Unclosed", "mailto:x@y.example")]),
        (None, "(" * 5000 + "a@b", [("(" * 200, "")]),
        (None, "<a@b?subject=x>", [("<a@b?subject=x>", "")]),
        ("=?utf-8?q?J=C3=BCrgen_M=C3=BCller?=", None, [("Jürgen Müller", "")]),
        (
            "=?UTF-8?B?SsO8cmdlbg==?= Smith",
            "=?iso-8859-1*de?Q?J=FCrgen?= Smith <j@x.example>, =?utf-8?q?=C3=85,_B?= <b@x.example>",
            [("Jürgen Smith", "mailto:j@x.example"), ("Å, B", "mailto:b@x.example")],
        ),
        (None, '"=?utf-8?B?SsO8cmdlbg?=" <j@x.example>', [("Jürgen", "mailto:j@x.example")]),
        # a letter whose bytes are in two words, and two words without the blank between them
        ("=?utf-8?q?J=C3?= =?utf-8?q?=BC?=\t=?us-ascii?q?r?= x", None, [("Jür x", "")]),
        ("=?utf-8?q?<b>=0A=00?=!", None, [("<b> !", "")]),
        ("=?utf-8?q?_?=", "a@x.example", [("a@x.example", "mailto:a@x.example")]),
        (None, None, []),
    ],
)
def test_authors_are_shown_once(
    names: str | None, mails: str | None, shown: list[tuple[str, str]]
) -> None:
    """Authors are shown once, with their address if they gave one that is plausible."""
    assert [tuple(person) for person in people(names, mails)] == shown


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("Ann <ann@x.example>, b@x.example", "Ann <ann@x.example>, b@x.example"),
        ("=?utf-8?q?J=C3=BCrgen?= Smith <j@x.example>", "J\u00fcrgen Smith <j@x.example>"),
        ("=?utf-8?q?=C3=85,_B?= <b@x.example>", '"\u00c5, B" <b@x.example>'),
        ('"=?utf-8?B?SsO8cmdlbg?=" <j@x.example>', '"J\u00fcrgen" <j@x.example>'),
        ("=?utf-8?q?=22A=22?= <a@x.example>", '"\\"A\\"" <a@x.example>'),
        ('"A=?x" <a@x.example>', '"A=?x" <a@x.example>'),
        ("=?zip?b?a?=", "=?zip?b?a?="),
        ("=?zip?b?a,b?= <a@x.example>", "=?zip?b?a,b?= <a@x.example>"),
        (r'"A\"=?x" <a@x.example>', r'"A\"=?x" <a@x.example>'),
    ],
)
def test_programs_get_names_as_pages_show_them(text: str, decoded: str) -> None:
    """In JSON a name is decoded, and still one name of the list that it is in."""
    assert decode_addresses(text) == decoded


@pytest.mark.parametrize(
    "broken",
    [
        "=?utf-8?q?=FF?=",
        "=?utf-8?b?!?=",
        "=?utf-8?b?A?=",
        "=?zip?b?eJwDAAAAAAE=?=",
        "=?iso-8859-99?q?a?=",
        "=?utf-8?x?a?=",
        "=?utf-8?q?a",
        "=?utf-8?q?a?= =?nothing?q?b?=",
        "=?" * 90,
    ],
)
def test_broken_encoded_word_is_shown_as_written(broken: str) -> None:
    """What cannot be decoded is shown as it is written."""
    assert people(broken, None) == ((broken, ""),)


@given(st.text("=?utf8-bqQB_ \t\u00e4AFC3", max_size=80))
def test_any_encoded_word_is_harmless(text: str) -> None:
    """Decoding raises nothing, and leaves no control character that was not there."""
    assert not re.search("[\x00-\x08\x0a-\x1f]", decode_words(text))


@given(st.text(min_size=1, max_size=40))
def test_names_as_other_programs_write_them(name: str) -> None:
    """A name comes out as the library of e-mail has encoded it, over as many words as it takes."""
    expected = " ".join(name.split())
    encoded = Header(expected, "utf-8", maxlinelen=40).encode()
    assume(expected.isprintable())
    assert decode_words(encoded.replace("\n", "")) == expected


@given(st.none() | st.text(max_size=80), st.none() | st.text("ab@<>,\"'().\\ ;:", max_size=80))
def test_only_mail_is_linked(names: str | None, mails: str | None) -> None:
    """Whatever is in the fields, nothing but mail is linked."""
    for person in people(names, mails):
        assert person.name
        assert person.mail == "" or person.mail.startswith("mailto:")
        assert '"' not in person.mail


def test_link_says_where_it_leads() -> None:
    """A link is marked with what it leads to, if its label does not say so; no URL comes twice."""
    core = parse_metadata(
        b"Metadata-Version: 2.4\nName: demo\nVersion: 1\nHome-page: https://demo.example/\n"
        b"Project-URL: Home-Page, https://demo.example/\n"
        b"Project-URL: Bug Tracker, https://demo.example/bugs\n"
        b"Project-URL: Fork, https://www.github.com/x/y\n"
        b"Project-URL: Manual, https://demo.readthedocs.io/\n"
        b"Project-URL: Other, https://other.example/\n"
        b"Project-URL: Broken, https://[\n"
        b"Project-URL: https://bare.example/x\n"
        b"Download-URL: https://demo.example/get\n"
    )
    found = [
        (project_link.text, project_link.kind, project_link.host)
        for project_link in project_links(core)
    ]
    assert found == [
        ("Home-Page", "", "demo.example"),
        ("Bug Tracker", "", "demo.example"),
        ("Fork", "Source code", "github.com"),
        ("Manual", "", "demo.readthedocs.io"),
        ("Other", "", "other.example"),
        ("Broken", "", ""),
        ("bare.example", "", "bare.example"),
        ("Download", "", "demo.example"),
    ]
