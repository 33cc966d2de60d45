"""The history of a project, as its page tells it."""

from msgspec.structs import replace

from tests.rendering.test_feeds import DEMO, change
from wheelyard.model.index_name import MAIN
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.project_overview import History, HistoryLinks, changes_of
from wheelyard.rendering.web.viewer import ANYONE

ENVIRONMENT = PageEnvironment("http://index.example/simple/")


def test_uploads_of_one_release_are_one_change() -> None:
    """What one person uploads of a release in a row is one item; a yank is one of its own."""
    ana, bob = "user:ana@acme.dev", "user:bob@acme.dev"
    entries = [
        change("uploaded", "demo-1.0.tar.gz", commit=1, by=ana),
        change("uploaded", "demo-1.0-py3-none-any.whl", commit=2, by=ana),
        change("uploaded", "demo-1.1.tar.gz", commit=3, by=ana),
        change("uploaded", "demo-1.1-py3-none-any.whl", commit=4, by=bob),
        change("imported", "demo-0.1.tar.gz", commit=5, by=bob),
        change("imported", "demo-0.2.tar.gz", commit=5, by=bob),
        change("yanked", "demo-1.0.tar.gz", commit=6, by=bob, reason="bad"),
        change("status", commit=7, by=bob),
    ]

    told = [(each.who, each.what, len(each.files)) for each in changes_of(entries)]

    ana, bob = "ana@acme.dev, by Google", "bob@acme.dev, by Google"
    assert told == [
        (bob, "set the status to archived", 0),
        (bob, "yanked 1.0", 1),
        (bob, "imported 2 releases", 2),
        (bob, "uploaded 1.1", 1),
        (ana, "uploaded 1.1", 1),
        (ana, "uploaded 1.0", 2),
    ]


def test_a_name_without_files() -> None:
    """A name that was reserved, and is free again, is told without a number of releases."""
    words = [each.what for each in changes_of([change("reserved"), change("released")])]

    assert words == ["released the name", "reserved the name"]


def test_a_right_in_a_hidden_index_is_not_told() -> None:
    """Of a right that names an index which the viewer may not read, only the change is told."""
    entries = [
        change("granted", reason="granted g1: user:ana may read every project in dev and prod"),
        change("revoked", reason="revoked g2: user:ana may read every project in products"),
    ]

    told = [(each.what, each.reason) for each in changes_of(entries, frozenset({"prod"}))]

    assert told == [
        ("changed who may do what", "revoked g2: user:ana may read every project in products"),
        ("changed who may do what", ""),
    ]


def test_a_removal_at_once_is_told_to_all() -> None:
    """That files were removed at once is told also to those who may not read the index main."""
    entries = [replace(change("removed", "demo-1.0.tar.gz"), at_once=True)]

    (told,) = changes_of(entries, frozenset({MAIN}))

    assert told.what == "removed 1.0 at once"


def test_pages_lead_to_the_oldest_and_back() -> None:
    """From the newest page one gets to the oldest and back."""
    steps = [(each.newer, each.older) for each in map(HistoryLinks, (None, 3, 2, 1), [3] * 4)]

    assert steps == [("", "3/"), ("../", "../2/"), ("../3/", "../1/"), ("../2/", "")]
    assert (HistoryLinks(None, 0).newer, HistoryLinks(None, 0).older) == ("", "")


def test_hostile_texts_are_texts() -> None:
    """A reason or a name can be no markup, and a lost commit is told."""
    entry = change("yanked", "demo-1.0.tar.gz", reason="<script>", by="user:<b>")

    shown = History(name=DEMO, changes=changes_of([entry]), lost=[2])
    page = shown.render(ENVIRONMENT, ANYONE)

    assert b"<strong>yanked 1.0</strong>: <bdi>&lt;script&gt;</bdi>" in page
    assert b"<b>" not in page
    assert b"has lost 1 of the commits" in page
