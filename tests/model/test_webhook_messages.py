"""Which messages to webhooks tell of a commit."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.project import Event, EventKind, File, Project
from wheelyard.model.webhook_messages import (
    AccessMessage,
    AnyMessage,
    ProjectMessage,
    TrialMessage,
    group_events,
    has_older_file,
    text_of,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DEMO = NormalizedName("demo")
FILE = File(
    filename="demo-1.0.tar.gz",
    version="1.0",
    sha256="a" * 64,
    size=1,
    uploaded_at=NOON,
    uploaded_by="user:ana@acme.dev",
)


def uploaded(file: File) -> Event:
    """Return the event that a file was added."""
    return Event.uploaded(file, at=NOON, by="user:ana@acme.dev")


@pytest.mark.parametrize(
    ("file", "event", "is_imported"),
    [
        (FILE, "released", False),
        (replace(FILE, imported_at=NOON), "released", True),
        (replace(FILE, imported_at=NOON, promoted_at=NOON), "promoted", False),
    ],
)
def test_an_added_file_is_told_of(file: File, event: str, *, is_imported: bool) -> None:
    """A message tells of a file that was uploaded, imported or promoted, and which of these."""
    (group,) = group_events(DEMO, [uploaded(file)])

    assert (group.event, group.release, group.filenames) == (event, "1.0", (FILE.filename,))
    assert group.is_imported is is_imported


def test_a_message_tells_of_one_release() -> None:
    """Files that are added in a row are told of once for each release, and pins are not."""
    other = replace(FILE, filename="demo-2.0.tar.gz", version="2.0")
    wheel = replace(FILE, filename="demo-2.0-py3-none-any.whl", version="2.0")
    pinned = Event(what=EventKind.PINNED, at=NOON, by="local:bo", files=(FILE.filename,))

    groups = group_events(DEMO, [uploaded(FILE), uploaded(other), uploaded(wheel), pinned])

    assert [(group.release, len(group.filenames)) for group in groups] == [("1.0", 1), ("2.0", 2)]


def test_a_change_of_several_releases_is_told_of_each() -> None:
    """Files of several releases that change at once are told of with those of their release."""
    filenames = ("demo-1.0.tar.gz", "demo-2.0.tar.gz", "demo-2.0-py3-none-any.whl")
    yanked = Event(what=EventKind.YANKED, at=NOON, by="local:bo", files=filenames)

    groups = group_events(DEMO, [yanked])

    told = [(group.event, group.release, group.filenames) for group in groups]
    assert told == [("yanked", "1.0", filenames[:1]), ("yanked", "2.0", filenames[1:])]


@pytest.mark.parametrize(
    ("project", "is_older"),
    [
        (Project(name=DEMO, files=(FILE,)), True),
        (Project(name=DEMO, files=(replace(FILE, version="1"),)), True),
        (Project(name=DEMO, trash=(FILE,)), True),
        (Project(name=DEMO, files=(replace(FILE, version="1.1"),)), False),
        (Project(name=DEMO, files=(replace(FILE, uploaded_at=NOON + MINUTE),)), False),
        (Project(name=DEMO), False),
    ],
    ids=["listed", "other-spelling", "in-the-trash", "other-release", "not-older", "no-file"],
)
def test_a_release_is_told_of_once(project: Project, *, is_older: bool) -> None:
    """A file is no new release if a file of the release came before it, even if deleted since."""
    assert has_older_file(project, "1.0", NOON + MINUTE) is is_older


NAME_RESERVED = ProjectMessage(
    type="project.reserved",
    time=NOON,
    by="local:bo",
    by_name="",
    index="main",
    project=DEMO,
    release="",
    url="https://pypi.acme.dev/demo/",
    files=(),
    from_index="",
    status="",
    reason="",
    imported=False,
)
ACCESS_CHANGED = AccessMessage(
    type="access.changed",
    time=NOON,
    by="local:bo",
    changes=("group team: added", "grant g1: <revoked>"),
    url="https://pypi.acme.dev/-/journal/",
)
TRIAL = TrialMessage(
    type="webhook.trial", time=NOON, by="local:bo", webhook="chat", url="https://pypi.acme.dev/"
)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (NAME_RESERVED, "bo reserved the name demo in main. https://pypi.acme.dev/demo/"),
        (
            ACCESS_CHANGED,
            "bo: group team: added; grant g1: &lt;revoked&gt;. https://pypi.acme.dev/-/journal/",
        ),
        (TRIAL, "bo tries the webhook chat."),
    ],
    ids=["without-files", "access", "trial"],
)
def test_a_chat_reads_what_happened(message: AnyMessage, text: str) -> None:
    """A message for a chat is a sentence that says who has done what."""
    assert text_of(message, lambda who: who.removeprefix("local:")) == text
