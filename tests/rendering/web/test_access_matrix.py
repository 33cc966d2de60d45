"""The matrix of who may do what to a project."""

from wheelyard.model.access import AccessEntry, Action
from wheelyard.rendering.web.access_matrix import AccessRow, Reason, access_rows

UPLOAD = Action.READ | Action.UPLOAD


def test_a_person_has_one_row() -> None:
    """A person's row has the rights of all grants, also of groups, and each of the reasons."""
    entries = [
        AccessEntry("group:team", UPLOAD, "grant g1", ("htpasswd:ana", "htpasswd:bob"), "acme-*"),
        AccessEntry("htpasswd:ana", Action.READ | Action.MANAGE, "grant g2"),
        AccessEntry("everybody", Action.READ, "the index is open for reading"),
    ]

    through = Reason("grant g1", group="group:team", details="acme-*")
    assert access_rows(entries) == [
        AccessRow("htpasswd:ana", UPLOAD | Action.MANAGE, (through, Reason("grant g2"))),
        AccessRow("group:team", UPLOAD, (Reason("grant g1", details="acme-*"),)),
        AccessRow("htpasswd:bob", UPLOAD, (through,)),
        AccessRow("everybody", Action.READ, (Reason("the index is open for reading"),)),
    ]


def test_nobody_has_a_right() -> None:
    """Without any right there is no row."""
    assert access_rows([]) == []
