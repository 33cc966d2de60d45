"""Which messages to webhooks tell of a commit."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.project import Event, EventKind, File
from wheelyard.model.webhook_messages import group_events

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
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
