"""People and links of core metadata."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.model.metadata import parse_metadata
from wheelyard.rendering.web.project_links import people, project_links


@pytest.mark.parametrize(
    ("names", "mails", "shown"),
    [
        ("Ann", "ann@x.example", [("Ann", ""), ("ann@x.example", "mailto:ann@x.example")]),
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
        (None, None, []),
    ],
)
def test_people(names: str | None, mails: str | None, shown: list[tuple[str, str]]) -> None:
    """Authors are shown once, with their address if they gave one that is plausible."""
    assert [tuple(each) for each in people(names, mails)] == shown


@given(st.none() | st.text(max_size=80), st.none() | st.text("ab@<>,\"'().\\ ;:", max_size=80))
def test_any_people(names: str | None, mails: str | None) -> None:
    """Whatever is in the fields, nothing but mail is linked."""
    for person in people(names, mails):
        assert person.name
        assert person.mail == "" or person.mail.startswith("mailto:")
        assert '"' not in person.mail


def test_links() -> None:
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
    found = [(each.text, each.kind, each.host) for each in project_links(core)]
    assert found == [
        ("Home-Page", "", "demo.example"),
        ("Bug Tracker", "Issues", "demo.example"),
        ("Fork", "Source code", "github.com"),
        ("Manual", "Documentation", "demo.readthedocs.io"),
        ("Other", "", "other.example"),
        ("Broken", "", ""),
        ("bare.example", "", "bare.example"),
        ("Download", "", "demo.example"),
    ]
