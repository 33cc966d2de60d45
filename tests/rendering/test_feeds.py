"""Atom feeds, as feed readers understand them."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.rendering.atom import parse_feed
from tests.rendering.examples import NOON, PROJECTS, file, project
from wheelyard.model.project import Project, Status
from wheelyard.model.project_json import JournalEntry
from wheelyard.rendering.feeds import index_feed, project_feed, release_entry
from wheelyard.rendering.project_facts import releases_of

DEMO = NormalizedName("demo")
BASE = "https://packages.example.com/py/"


def change(what: str, *files: str, commit: int = 3, reason: str = "", by: str = "") -> JournalEntry:
    """Make an entry of the journal of the project demo."""
    return JournalEntry(
        at=NOON + timedelta(hours=1),
        project=DEMO,
        commit=commit,
        what=what,
        files=files,
        by=by or "user:ana@acme.dev",
        by_name="",
        credential="",
        status="archived" if what == "status" else "",
        reason=reason,
    )


ANY_TEXT = st.text(max_size=20)
"""Control characters and lone surrogates, too."""
CHANGES = st.lists(
    st.builds(
        change,
        st.sampled_from(["uploaded", "yanked", "unyanked", "deleted", "status"]),
        st.just("demo-1.0.tar.gz"),
        reason=ANY_TEXT,
        by=ANY_TEXT,
        commit=st.integers(1, 5),
    ),
    max_size=5,
).map(lambda found: sorted(found, key=lambda each: each.commit))


@given(PROJECTS, CHANGES, ANY_TEXT)
def test_feed_of_any_project_is_valid(
    found: Project, changes: list[JournalEntry], text: str
) -> None:
    """Whatever names, reasons and summaries contain, the feed is valid."""
    found = replace(found, summary=text)

    feed = parse_feed(project_feed(text, "", found, changes), f"{BASE}project/demo/feed.xml")

    assert feed.links == {
        "self": f"{BASE}project/demo/feed.xml",
        "alternate": f"{BASE}project/demo/",
    }
    assert all(entry.link.startswith(f"{BASE}project/demo/") for entry in feed.entries)
    number = sum(change.what != "uploaded" for change in changes)
    assert len(feed.entries) == len(releases_of(found)) + number


def test_entry_says_who_when_and_why() -> None:
    """A feed has releases and changes, newest first: who, when, why, and a link to the page."""
    found = project(file("1.0", yanked="it <breaks>"), file("1.0", is_wheel=False, yanked=""))
    yank = change("yanked", "demo-1.0.tar.gz", "demo-1.0-py3-none-any.whl", reason="it <breaks>")
    yank = replace(yank, by="token:0123456789", by_name="ci")

    feed = parse_feed(project_feed("Acme", BASE, found, [yank]))

    assert (feed.title, feed.updated) == ("demo · Acme", "2026-11-20T13:00:00Z")
    yanked, released = feed.entries
    assert (yanked.title, yanked.author) == ("demo 1.0 yanked", "token:0123456789 (ci)")
    assert yanked.text == "Reason: it <breaks>\ndemo-1.0.tar.gz\ndemo-1.0-py3-none-any.whl"
    assert (released.title, released.author) == ("demo 1.0", "local:ann")
    assert released.text.startswith("Yanked: it <breaks>\n")
    assert released.link == yanked.link == f"{BASE}project/demo/1.0/"


def test_a_change_of_releases_that_are_gone() -> None:
    """A deletion links to the project, names a few versions, and counts the others."""
    files = [f"demo-{version}.tar.gz" for version in ("2.0", "10.0", "1.0", "3.0", "4.0")]
    gone = change("deleted", *files)

    (entry,) = parse_feed(project_feed("Acme", BASE, project(), [gone])).entries

    assert entry.title == "demo 1.0, 2.0, 3.0 and 2 more deleted"
    assert entry.link == f"{BASE}project/demo/"


def test_a_change_of_many_files_names_twenty() -> None:
    """The text of a change names the first files, and says how many more there are."""
    files = [f"demo-1.0-cp{minor}-none-any.whl" for minor in range(22)]

    (entry,) = parse_feed(project_feed("", BASE, project(), [change("yanked", *files)])).entries

    assert entry.text.splitlines() == [*files[:20], "and 2 more files"]


def test_ids_of_entries_stay() -> None:
    """An id changes neither with the index's URL and name, nor with what becomes of a release."""
    early = project(file("1.0"))
    late = project(file("1.0", yanked="bad"), file("1.0.0", is_wheel=False), file("1.1"))
    changes = [change("yanked", "demo-1.0-py3-none-any.whl")]

    before = parse_feed(project_feed("Acme", "", early, ()))
    after = parse_feed(project_feed("Acme Ltd", BASE, late, changes))

    assert before.id == after.id
    assert {entry.id for entry in before.entries} < {each.id for each in after.entries}
    assert len(after.entries) == 3


def test_the_id_of_a_change_is_its_place_in_its_commit() -> None:
    """An id stays from one version to the next: it counts a commit's changes, with its uploads."""
    changes = [
        change("yanked", commit=3),
        change("uploaded", commit=3),
        change("deleted", commit=3),
        change("unyanked", commit=4),
    ]

    feed = parse_feed(project_feed("Acme", BASE, project(), changes))

    first_and_third_of_commit_3 = {
        "urn:uuid:3595177b-440f-5ed5-a51b-a68eef6db246",
        "urn:uuid:3edb5272-9ece-57cf-8b08-50df4d2da1b5",
    }
    first_of_commit_4 = "urn:uuid:6dcafab0-9ab1-54ab-a2c9-f4922ea97bba"
    ids = {entry.id for entry in feed.entries}
    assert ids == {*first_and_third_of_commit_3, first_of_commit_4}


def test_quarantined_project_has_no_releases_in_its_feed() -> None:
    """The feed of a project in quarantine tells of that, and of no release."""
    found = project(file("1.0"), status=Status.QUARANTINED)

    feed = parse_feed(project_feed("Acme", BASE, found, [change("status", reason="see mail")]))

    assert [(entry.title, entry.text) for entry in feed.entries] == [
        ("demo is archived now", "Reason: see mail")
    ]


def test_a_project_without_files_has_no_summary() -> None:
    """The feed of a project shows its summary, but not once all of its files are deleted."""
    found = replace(project(file("1.0")), summary="The secret")

    assert b"The secret" in project_feed("Acme", BASE, found, [])
    assert b"The secret" not in project_feed("Acme", BASE, replace(found, files=()), [])


def test_feed_of_all_projects_links_to_releases() -> None:
    """The feed of all projects links to each release; that of an empty index is valid, too."""
    (release,) = releases_of(project(file("1!2.0+cu121")))

    feed = parse_feed(index_feed("Acme", "", [release_entry(DEMO, release)]), f"{BASE}feed.xml")
    empty = parse_feed(index_feed("Acme", BASE, ()), f"{BASE}feed.xml")

    assert feed.links == empty.links == {"self": f"{BASE}feed.xml", "alternate": BASE}
    assert [entry.link for entry in feed.entries] == [f"{BASE}project/demo/1!2.0%2Bcu121/"]
    assert empty.entries == []
