"""The pages for those who manage a project: changes of releases and of the status, and rights."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.access import AccessEntry, Action
from wheelyard.model.principals import with_name
from wheelyard.model.project import (
    Commit,
    Event,
    EventKind,
    File,
    Project,
    Status,
)
from wheelyard.model.text import counted
from wheelyard.rendering.releases import Release, all_releases
from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.forms import FormState

ROOT: Final = "../../../"
"""The home page, relative to `/project/<name>/manage/` and `/project/<name>/access/`."""
SHOWN_RELEASES: Final = 20
"""Releases that the page lists at once; the others are in a part that can be opened."""
STATUS: Final = "status"
VERBS: Final = MappingProxyType({"yank": "Yank", "unyank": "Unyank", "delete": "Delete"})
"""The changes of the files of a release, and what their buttons say."""
STATUS_MEANINGS: Final[Mapping[Status, str]] = MappingProxyType(
    {
        Status.ACTIVE: "As usual: it is served, and takes uploads.",
        Status.DEPRECATED: "As active, with a notice that it should not be used any more.",
        Status.ARCHIVED: "It is served, and takes no uploads.",
        Status.QUARANTINED: "No file is listed or served under any URL, and it takes no uploads.",
    }
)


class ChoosableFile(Struct, frozen=True):
    """A file of a release in a form, with a box to tick."""

    filename: str
    file: File | None
    """What the index knows of it; None if the project could not be read."""
    is_ticked: bool = True


class FileChange(Struct, frozen=True):
    """The change of some files of a release, before it is made."""

    name: NormalizedName
    action: str
    """One of `VERBS`."""
    version: str
    files: tuple[ChoosableFile, ...]


class DoneEvent(Struct, frozen=True):
    """One event of a commit, in words."""

    what: str
    """A sentence without its full stop: `2 files deleted`."""
    files: tuple[str, ...]
    reason: str
    by: str
    at: datetime


def manage_page(
    environment: PageEnvironment,
    viewer: Viewer,
    project: Project,
    form: FormState,
    done: Sequence[DoneEvent] | None = None,
) -> bytes:
    """
    Return the page on which one chooses what to change.

    `done` are the events of a change that was just made; it is empty if everything was so already.
    """
    releases = all_releases(project)
    return environment.render(
        "manage.html",
        viewer,
        ROOT,
        project=project,
        newest=releases[:SHOWN_RELEASES],
        others=releases[SHOWN_RELEASES:],
        meaning=STATUS_MEANINGS[project.status],
        form=form,
        done=done,
    )


def manage_release_page(
    environment: PageEnvironment, viewer: Viewer, name: NormalizedName, release: Release
) -> bytes:
    """Return the page of one release, from which one goes on to what is to be changed."""
    is_any_yanked = any(each.yanked is not None for each in release.files)
    values = {"name": name, "release": release, "is_any_yanked": is_any_yanked}
    return environment.render("manage_release.html", viewer, ROOT, **values)


def change_files_page(
    environment: PageEnvironment, viewer: Viewer, change: FileChange, form: FormState
) -> bytes:
    """Return the page with the form that yanks, unyanks or deletes files of a release."""
    values = {"change": change, "verb": VERBS[change.action], "form": form}
    return environment.render("manage_files.html", viewer, ROOT, **values)


def change_status_page(
    environment: PageEnvironment,
    viewer: Viewer,
    name: NormalizedName,
    project: Project | None,
    form: FormState,
) -> bytes:
    """Return the page with the form that sets the status; without the project if it is unknown."""
    meanings = STATUS_MEANINGS.items()
    values = {"name": name, "project": project, "meanings": meanings, "form": form}
    return environment.render("manage_status.html", viewer, ROOT, **values)


def access_page(
    environment: PageEnvironment,
    viewer: Viewer,
    name: NormalizedName,
    entries: Sequence[AccessEntry],
    *,
    has_details: bool,
) -> bytes:
    """Return the page that says who may do what and why; `has_details`: for an administrator."""
    rows = [(each, _actions_in_words(each.actions)) for each in entries]
    values = {"name": name, "rows": rows, "has_details": has_details}
    return environment.render("access.html", viewer, ROOT, **values)


def _actions_in_words(actions: Action) -> str:
    return ", ".join(each.word for each in Action if each & actions) or "what Google says"


def events_of(commit: Commit) -> tuple[DoneEvent, ...]:
    """Return the events of a commit, in words."""
    return tuple(map(_in_words, commit.events))


def _in_words(event: Event) -> DoneEvent:
    files: tuple[str, ...] = ()
    match event.what:
        case EventKind.STATUS:
            what = f"The status is {event.status} now"
        case EventKind.UPLOADED:
            what = f"{event.file.filename} uploaded"
        case EventKind.RESERVED | EventKind.RELEASED:
            what = f"The name was {event.what}"
        case _:
            files = event.files
            what = f"{counted(len(files), 'file')} {event.what}"
    return DoneEvent(what, files, event.reason, with_name(event.by, event.by_name), event.at)
