"""
The messages that webhooks get: which events of a commit are one message, and what it says.

A message follows from the journal, so it is the same after a restart, and on another server.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import groupby
from typing import Final
from urllib.parse import quote

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid
from wheelyard.model.decoding import counted, escaped, redact_tokens
from wheelyard.model.distribution_filename import parse_known_filename, strip_trailing_zeros
from wheelyard.model.index_name import MAIN
from wheelyard.model.package_request_text import describe_requests, for_chat
from wheelyard.model.package_requests import PackageRequest
from wheelyard.model.project import Event, EventKind, File, NumberedCommit, Project, Status
from wheelyard.model.stored_webhooks import WebhookEvent
from wheelyard.model.webhook_state import MessagePlace

BODY_VERSION: Final = 1
"""The version of the form of messages, which stays when a field is added."""
MAX_FILES_IN_LINE: Final = 5
"""How many files a text for a chat names."""
DescribePrincipal = Callable[[str], str]
"""A function that returns a principal in words."""

_SENTENCES: Final[Mapping[str, str]] = {
    "project.released": "{by} released {what} in {index}",
    "project.file_added": "{by} added files to {what} in {index}",
    "project.yanked": "{by} yanked files of {what} in {index}",
    "project.unyanked": "{by} took back the yank of files of {what} in {index}",
    "project.deleted": "{by} deleted files of {what} in {index}",
    "project.restored": "{by} restored files of {what} in {index}",
    "project.promoted": "{by} promoted {what} from {from_index} to {index}",
    "project.status": "{by} set {what} in {index} to {status}",
    "project.reserved": "{by} reserved the name {what} in {index}",
}
"""The sentence of each message about a project for people, by the type of the message."""

_EVENT_OF_KIND: Final[Mapping[str, WebhookEvent]] = {
    EventKind.YANKED: WebhookEvent.YANKED,
    EventKind.UNYANKED: WebhookEvent.UNYANKED,
    EventKind.DELETED: WebhookEvent.DELETED,
    EventKind.RESTORED: WebhookEvent.RESTORED,
    EventKind.STATUS: WebhookEvent.STATUS,
    EventKind.RESERVED: WebhookEvent.RESERVED,
}
"""The event of a webhook for each kind of event that messages tell of, but for uploads."""


class MessageFile(Struct, frozen=True, kw_only=True):
    """A file that a message is about."""

    filename: str
    sha256: str
    """The SHA-256 of the file, 64 hexadecimal digits."""
    size: int
    """The size of the file in bytes."""
    url: str
    """The URL at which the index serves the file. A deleted file is not there any more."""


class Message(Struct, frozen=True, kw_only=True):
    """What each message has. Each field of a message is sent, also an empty one."""

    type: str
    """What the message is about: `project.released`, for example."""
    version: int = BODY_VERSION
    """The version of the form of the message, 1. Fields may be added without another version."""
    time: datetime
    """The time of the event that the message tells of, in UTC."""


class ProjectMessage(Message, frozen=True, kw_only=True):
    """What happened to a project: `project.released`, and so on for each event of a feed."""

    by: str
    """The principal that made the change, such as `user:anna@example.com`."""
    by_name: str
    """The name of the token in `by`, or an empty text if no name is known."""
    index: str
    """The index of the project. `main` is the index at the root of the server."""
    project: NormalizedName
    release: str
    """The version that the message is about, or an empty text for the whole project."""
    url: str
    """The URL of the page of the release, or of the project."""
    files: tuple[MessageFile, ...]
    from_index: str
    """The index that files were promoted from, or an empty text for any other event."""
    status: str
    """The new status of the project (PEP 792), or an empty text for any other event."""
    reason: str
    """The reason that was given, without tokens in it, or an empty text."""
    imported: bool
    """Whether the change came by an import or a copy, and happened earlier elsewhere."""


class AccessMessage(Message, frozen=True, kw_only=True):
    """What somebody has changed about rights, publishers, namespaces or indexes."""

    by: str
    changes: tuple[str, ...]
    """Each change in words."""
    url: str
    """The URL of the journal."""


class WaitingPackage(Struct, frozen=True, kw_only=True):
    """A public package that waits for a decision."""

    project: NormalizedName
    release: str
    """The version, or an empty text for the whole project."""
    who: tuple[str, ...]
    """The principals who wanted the package."""
    reasons: tuple[str, ...]
    """The reasons of people who need the package, in their words."""
    hidden: str
    """What hides the package, in sentences."""


class RequestsMessage(Message, frozen=True, kw_only=True):
    """Public packages that wait for a decision, and of which no message has told."""

    requests: tuple[WaitingPackage, ...]
    waiting: int
    """How many requests for packages wait in all."""
    text: str
    """The requests as a text for people."""
    url: str
    """The URL of the page of requests."""


class TrialMessage(Message, frozen=True, kw_only=True):
    """A message that somebody has sent to try the webhook."""

    by: str
    webhook: str
    """The name of the webhook."""
    url: str
    """The URL of the page of the index."""


AnyMessage = ProjectMessage | AccessMessage | RequestsMessage | TrialMessage


class Outgoing(Struct, frozen=True, kw_only=True):
    """A message with its id."""

    id: str
    """The id of the message, which is equal for each try and for each webhook."""
    place: MessagePlace
    event: str
    """A word of `WebhookEvent`, or `test`."""
    subject: str
    """What the message is about, in words for people."""
    message: AnyMessage


class MessageUrls(Struct, frozen=True):
    """The URLs of this server in messages."""

    base: str
    """The URL of the server, without a slash at the end."""

    def of_page(self, index: str, project: NormalizedName, release: str) -> str:
        """Return the URL of the page of a release, or of a project if the release is empty."""
        url = f"{self._root(index)}/project/{project}/"
        if release:
            url = f"{url}{quote(release, safe='')}/"
        return url

    def of_file(self, index: str, project: NormalizedName, file: File) -> str:
        """Return the URL of a file."""
        return f"{self._root(index)}/files/{project}/{file.sha256}/{quote(file.filename)}"

    @property
    def of_journal(self) -> str:
        """The URL of the journal of the server."""
        return f"{self.base}/-/admin/journal/"

    @property
    def of_requests(self) -> str:
        """The URL of the page of requests for public packages."""
        return f"{self.base}/-/admin/requests/"

    def _root(self, index: str) -> str:
        if index == MAIN:
            return self.base
        return f"{self.base}/{index}"


class EventGroup(Struct, frozen=True, kw_only=True):
    """Events of a commit that one message tells of."""

    position: int
    """The number of the group in its commit, counted from 0."""
    event: WebhookEvent
    """`RELEASED` for each upload, as only the project tells which upload was the first."""
    release: str
    """The version of the events, or empty if they are about the whole project."""
    is_imported: bool
    """Whether the files came by an import."""
    events: tuple[Event, ...]

    @property
    def filenames(self) -> tuple[str, ...]:
        """The names of the files that the events are about."""
        names = list[str]()
        for event in self.events:
            names += event.files
        return tuple(names)


class _EventPart(Struct, frozen=True):
    """The part of an event that is about one version."""

    webhook_event: WebhookEvent
    release: str
    event: Event
    filenames: tuple[str, ...]

    @property
    def is_imported(self) -> bool:
        """Whether the event is that of an import."""
        if self.event.what != EventKind.UPLOADED:
            return False
        file = self.event.file
        # a promoted file keeps the time of its import, and did not come here by that import
        return file.promoted_at is None and file.imported_at is not None

    @property
    def group_key(self) -> tuple[str, str, bool, str, str]:
        """What is equal for all events that one message tells of."""
        event = self.event
        return self.webhook_event, self.release, self.is_imported, event.by, event.reason


def group_events(project: NormalizedName, events: Iterable[Event]) -> tuple[EventGroup, ...]:
    """
    Return the events of a commit in groups, of which each is told of by one message.

    Events in a row are a group if kind, release, principal and reason are the same, and all or none
    were imported. Events of a kind that no message tells of, such as pins, are in no group.
    """
    parts = list[_EventPart]()
    for event in events:
        parts += _event_parts(project, event)
    groups = list[EventGroup]()
    # only neighbours are joined, so that messages have the order of the events
    for _, neighbours in groupby(parts, key=lambda part: part.group_key):
        parts_of_group = list(neighbours)
        first = parts_of_group[0]
        events_of_group = [_narrowed_to(part.event, part.filenames) for part in parts_of_group]
        group = EventGroup(
            position=len(groups),
            event=first.webhook_event,
            release=first.release,
            is_imported=first.is_imported,
            events=tuple(events_of_group),
        )
        groups.append(group)
    return tuple(groups)


def _narrowed_to(event: Event, filenames: tuple[str, ...]) -> Event:
    """Return the event as if it were about these files alone."""
    # most events are about one version, and a copy would decode their data once more
    if event.files == filenames:
        return event
    return Event(
        what=event.what,
        at=event.at,
        by=event.by,
        by_name=event.by_name,
        files=filenames,
        reason=event.reason,
        data=event.data,
    )


def _event_parts(project: NormalizedName, event: Event) -> list[_EventPart]:
    """Return the part of an event for each version, or none if no message tells of its kind."""
    if event.what == EventKind.UPLOADED:
        return [_upload_part(event)]
    webhook_event = _EVENT_OF_KIND.get(event.what)
    if webhook_event is None:
        return []
    # the status and the reservation of a name are about the whole project
    if not event.files:
        return [_EventPart(webhook_event, "", event, ())]
    filenames_by_release = dict[str, list[str]]()
    for filename in event.files:
        release = _release_of(filename, project)
        filenames_by_release.setdefault(release, []).append(filename)
    parts = list[_EventPart]()
    for release, filenames in filenames_by_release.items():
        parts.append(_EventPart(webhook_event, release, event, tuple(filenames)))
    return parts


def _upload_part(event: Event) -> _EventPart:
    """Return the only part of an event that a file was uploaded, imported or promoted."""
    file = event.file
    webhook_event = WebhookEvent.RELEASED
    if file.promoted_at is not None:
        webhook_event = WebhookEvent.PROMOTED
    return _EventPart(webhook_event, file.version, event, event.files)


def _release_of(filename: str, project: NormalizedName) -> str:
    """Return the version of a file by its name, or an empty text if the name has none."""
    try:
        return str(parse_known_filename(filename, project).version)
    except Invalid:  # an earlier version of wheelyard took other filenames, too
        return ""


def has_release(events: Iterable[Event], release: str) -> bool:
    """Return whether one of the events has added a file of a release."""
    for event in events:
        if event.what == EventKind.UPLOADED and _is_of_release(event.file, release):
            return True
    return False


def has_older_file(project: Project, release: str, time: datetime) -> bool:
    """
    Return whether a project has a file of a release that came before a time.

    A deleted file counts while it is in the trash.
    """
    # people were told of the release when a file came that is in the trash now
    for file in project.files + project.trash:
        if _is_of_release(file, release) and file.came_at < time:
            return True
    return False


def _is_of_release(file: File, release: str) -> bool:
    """Return whether a file is of a release: 1.0 and 1 are one release (PEP 440)."""
    return strip_trailing_zeros(file.version) == strip_trailing_zeros(release)


def message_of(
    group: EventGroup,
    event: WebhookEvent,
    index: str,
    project: NormalizedName,
    files: Mapping[str, File],
    urls: MessageUrls,
) -> ProjectMessage:
    """
    Return the message about a group of events, without tokens in its reason.

    `event` is what the message tells of. For uploads it may differ from the event of the group.
    `files` has the files of the project by name. A file that is not there is left out.
    """
    # the events of a group have one principal and one reason, and the time is that of the last
    last = group.events[-1]
    status = ""
    if event is WebhookEvent.STATUS:
        status = str(Status(last.status))
    from_index = ""
    if event is WebhookEvent.PROMOTED:
        from_index = last.file.source_index

    # a file may be deleted for good before its message is sent
    remaining_files = [files[name] for name in group.filenames if name in files]
    return ProjectMessage(
        type=f"project.{event}",
        time=last.at,
        by=last.by,
        by_name=last.by_name,
        index=index,
        project=project,
        release=group.release,
        url=urls.of_page(index, project, group.release),
        files=tuple(_message_file(file, index, project, urls) for file in remaining_files),
        from_index=from_index,
        status=status,
        reason=redact_tokens(last.reason),
        imported=group.is_imported,
    )


def _message_file(
    file: File, index: str, project: NormalizedName, urls: MessageUrls
) -> MessageFile:
    return MessageFile(
        filename=file.filename,
        sha256=file.sha256,
        size=file.size,
        url=urls.of_file(index, project, file),
    )


def requests_message(
    news: Sequence[PackageRequest],
    waiting: int,
    time: datetime,
    urls: MessageUrls,
    describe: DescribePrincipal,
) -> RequestsMessage:
    """
    Return the message about new requests for public packages.

    `news` are the requests of which no message has told. `waiting` is the count of all requests
    that wait.
    """
    packages = list[WaitingPackage]()
    for request in news:
        # a message leaves the server, and people have pasted tokens into reasons
        reasons = [redact_tokens(ask.reason) for ask in request.asks]
        package = WaitingPackage(
            project=request.project,
            release=request.version,
            who=request.who,
            reasons=tuple(reasons),
            hidden=request.reason,
        )
        packages.append(package)
    return RequestsMessage(
        type="package.requested",
        time=time,
        requests=tuple(packages),
        waiting=waiting,
        text=describe_requests(news, waiting, urls.of_requests, describe),
        url=urls.of_requests,
    )


def message_id(place: MessagePlace, commit: NumberedCommit) -> str:
    """Return the id of a message, which is the same on each server, and at each try."""
    # the id of the commit tells apart commits of one number: an older copy of a store gets others
    text = f"{place.journal}\0{commit.number}\0{commit.id}\0{place.position}"
    return f"msg_{sha256(text.encode()).hexdigest()[:32]}"


def text_of(message: AnyMessage, describe: DescribePrincipal) -> str:
    """Return a message as one or two lines for a chat, safe with words of strangers in them."""
    if isinstance(message, RequestsMessage):
        return message.text
    if isinstance(message, AccessMessage):
        changes = "; ".join(map(escaped, message.changes))
        return for_chat(f"{describe(message.by)}: {changes}. {message.url}")
    if isinstance(message, TrialMessage):
        return for_chat(f"{describe(message.by)} tries the webhook {message.webhook}.")
    return for_chat(_describe_project_message(message, describe))


def _describe_project_message(message: ProjectMessage, describe: DescribePrincipal) -> str:
    """Return what happened to a project in words, with its files, the reason and the page."""
    sentence = _SENTENCES[message.type].format(
        by=describe(message.by),
        what=f"{message.project} {message.release}".rstrip(),
        index=message.index,
        from_index=message.from_index,
        status=message.status,
    )
    reason = ""
    if message.reason:
        reason = f' "{escaped(message.reason)}"'
    return f"{sentence}{_describe_files(message.files)}.{reason} {message.url}"


def _describe_files(files: Sequence[MessageFile]) -> str:
    """Return the names of the first files in parentheses, and how many more there are."""
    if not files:
        return ""
    names = ", ".join(file.filename for file in files[:MAX_FILES_IN_LINE])
    # a release may have dozens of wheels, and a chat cuts off long texts
    more = len(files) - MAX_FILES_IN_LINE
    if more > 0:
        names = f"{names} and {counted(more, 'more file')}"
    return f" ({names})"
