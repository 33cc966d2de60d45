"""
Webhooks: which URLs are told what happens to which projects of which indexes.

The store keeps the keys of `[[webhook]]` tables, with a journal. A secret is none of the keys.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import UNSET, Meta, Struct, UnsetType, field
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import NamePatterns, parse_name_patterns
from wheelyard.model.index_name import EVERY_INDEX, MAIN, NAME_FORM, parse_index_name
from wheelyard.model.project import EventCommit
from wheelyard.model.stored_tables import (
    NEVER_CHANGED,
    ListedTable,
    StoredTable,
    TableAdded,
    TableChanged,
    TableKeys,
    TableKind,
    TableList,
    TableRemoved,
)
from wheelyard.model.variable_names import variable_part
from wheelyard.remedies import Advice, Caution, Remedy

KEPT: Final = "kept"
"""The value of `secret` in a file: the store or a variable has the secret."""
IMPORTED: Final = "imported"
"""The word in `events` by which events of imports and copies are sent, too."""
MAX_URL_CHARS: Final = 2000
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_Texts = tuple[Annotated[str, Meta(title="a text")], ...]


class WebhookEvent(StrEnum):
    """What a webhook can be told of."""

    RELEASED = "released"
    """The first file of a version was added."""
    FILE_ADDED = "file_added"
    """Another file of a version was added."""
    YANKED = "yanked"
    UNYANKED = "unyanked"
    DELETED = "deleted"
    RESTORED = "restored"
    PROMOTED = "promoted"
    """Files came from another index."""
    STATUS = "status"
    """The status of a project was set (PEP 792)."""
    RESERVED = "reserved"
    """A name was made private, without a file."""
    PACKAGE_REQUESTED = "package_requested"
    """Public packages wait for a decision."""
    ACCESS_CHANGED = "access_changed"
    """Somebody's rights, a publisher, a namespace or an index was changed."""


EVENT_WORDS: Final = (*(str(event) for event in WebhookEvent), IMPORTED)
"""The words that the key `events` may have."""
OF_SERVER: Final = frozenset({WebhookEvent.PACKAGE_REQUESTED, WebhookEvent.ACCESS_CHANGED})
"""Events that are about no project of an index. Only a webhook that names them gets them."""
OF_PROJECTS: Final = frozenset(WebhookEvent) - OF_SERVER
"""Events of the feeds of indexes, which a webhook gets that names no events."""


class WebhookFormat(StrEnum):
    """What is sent to a webhook."""

    STANDARD = "standard"
    """JSON, signed as Standard Webhooks says."""
    SLACK = "slack"
    """A line of text, which Slack, Teams and Mattermost take."""


class WebhookFields(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The keys of a `[[webhook]]` table, before validation."""

    name: Annotated[str, Meta(title="a name such as builds")]
    url: Annotated[str, Meta(title="a URL such as https://ci.example/hook")] = ""
    events: _Texts = ()
    indexes: _Texts = ()
    projects: _Texts = ()
    format: Literal["standard", "slack"] = "standard"
    allow_private: bool = False
    secret: str | UnsetType = UNSET


class Webhook(Struct, frozen=True, kw_only=True):
    """A webhook, whose keys are valid."""

    name: str
    url: str
    """Empty if only a variable of the server has the URL."""
    events: frozenset[WebhookEvent]
    takes_imports: bool
    """Whether events of imports and copies are sent, too."""
    indexes: frozenset[str]
    """The names of the indexes whose events are sent, or `EVERY_INDEX`."""
    projects: NamePatterns | None
    """The names of the projects whose events are sent, or None for all projects."""
    format: WebhookFormat
    allow_private: bool
    """Whether its host may have an address in the private networks of the settings."""
    created: datetime
    """When the webhook was added, UTC. It tells apart webhooks that had one name in turn."""

    def is_about(self, project: NormalizedName) -> bool:
        """Return whether events of a project are sent."""
        return self.projects is None or self.projects.match(project)

    def reads_feed(self, index: str) -> bool:
        """Return whether the feed of an index has events that are sent."""
        # a webhook that is told of rights and requests alone needs no feed
        is_named = index in self.indexes or EVERY_INDEX in self.indexes
        return is_named and not self.events <= OF_SERVER

    @property
    def is_signed(self) -> bool:
        """Whether messages are signed, for which the webhook needs a secret."""
        return self.format is WebhookFormat.STANDARD


class WebhookVariables(Struct, frozen=True, kw_only=True):
    """
    What the environment of a process has for webhooks.

    The keys are what `variable_part` returns for the names of webhooks.
    """

    secrets: Mapping[str, str] = {}
    """The values of `WHEELYARD_WEBHOOK_<NAME>_SECRET`."""
    urls: Mapping[str, str] = {}
    """The values of `WHEELYARD_WEBHOOK_<NAME>_URL`. A URL may have a secret in it."""

    def __repr__(self) -> str:  # without secrets, because it may be logged
        return f"WebhookVariables(secrets={sorted(self.secrets)}, urls={sorted(self.urls)})"


def parse_webhook(keys: TableKeys, created: datetime) -> Webhook:
    """
    Return the webhook of the keys of a table.

    A webhook without `events` gets all of `OF_PROJECTS`, and one without `indexes` is about main.
    Raises Invalid if a key is wrong: with the code `invalid_index` for the name of an index,
    `bad_setting` for a pattern of projects, and `invalid_field`, with the key, for anything else.
    """
    checked = WEBHOOK_KIND.checked(keys)
    name = str(checked["name"])
    if not NAME_FORM.fullmatch(name):
        why = f"{quoted(name)} has other characters than a-z, digits and hyphens"
        raise _invalid_key("name", why)
    message_format = WebhookFormat(checked.get("format", WebhookFormat.STANDARD))
    url = str(checked.get("url", ""))
    if message_format is WebhookFormat.SLACK and url:
        raise _invalid_key(
            "url",
            "a URL that a chat takes messages at is a secret. Leave it out here, and set "
            f"{variable_of(name, 'URL')} of the server",
        )
    _require_url(url)
    event_words = [str(word) for word in checked.get("events", ())]
    events = _parse_events(event_words)

    _require_no_secret(name, checked)

    # a webhook without patterns is about all names, and an empty list of patterns matches none
    patterns = [str(text) for text in checked.get("projects", ())]
    projects: NamePatterns | None = None
    if patterns:
        projects = parse_name_patterns(patterns)
    indexes = frozenset(_parse_index(str(text)) for text in checked.get("indexes", ()))
    return Webhook(
        name=name,
        url=url,
        events=events or OF_PROJECTS,
        takes_imports=IMPORTED in event_words,
        indexes=indexes or frozenset({MAIN}),
        projects=projects,
        format=message_format,
        allow_private=bool(checked.get("allow_private", False)),
        created=created,
    )


def _require_no_secret(name: str, keys: TableKeys) -> None:
    """Raise Invalid if the keys of a webhook have its secret."""
    # a file is in version control, and the arguments of a command in the list of processes
    if keys.get("secret", KEPT) != KEPT:
        raise _invalid_key(
            "secret",
            f'no file and no command has a secret. Write "{KEPT}", or leave it out, and set '
            f"{variable_of(name, 'SECRET')} of the server, or have it make a secret",
        )


def _parse_events(words: Iterable[str]) -> frozenset[WebhookEvent]:
    """Return the events that `words` name, or raise Invalid for a word that is none."""
    events = set[WebhookEvent]()
    for word in words:
        if word not in EVENT_WORDS:
            why = f"{quoted(word)} is none. Choose some of {', '.join(EVENT_WORDS)}"
            raise _invalid_key("events", why)
        if word != IMPORTED:
            events.add(WebhookEvent(word))
    return frozenset(events)


def canonical_webhook(keys: TableKeys) -> TableKeys:
    """
    Return the keys of a webhook in a form that all equal webhooks have, without `secret`.

    Raises Invalid (code `invalid_field`, `invalid_index` or `bad_setting`) if a key is wrong.
    """
    webhook = parse_webhook(keys, NEVER_CHANGED)
    # a key with its default value is left out, so that equal webhooks have equal keys
    canonical: TableKeys = {"name": webhook.name}
    if webhook.url:
        canonical["url"] = webhook.url
    for key in ("events", "indexes"):
        if keys.get(key):
            different_texts = {str(text) for text in keys[key]}
            canonical[key] = sorted(different_texts)
    if webhook.projects is not None:
        canonical["projects"] = sorted(webhook.projects.texts)
    if webhook.format is not WebhookFormat.STANDARD:
        canonical["format"] = str(webhook.format)
    if webhook.allow_private:
        canonical["allow_private"] = True
    return canonical


def variable_of(name: str, content: str) -> str:
    """Return the variable with the `content` of a webhook, which is `SECRET` or `URL`."""
    return f"WHEELYARD_WEBHOOK_{variable_part(name)}_{content}"


def _parse_index(text: str) -> str:
    """Return the name of an index, or `EVERY_INDEX`, or raise Invalid if the text is neither."""
    if text in {EVERY_INDEX, MAIN}:
        return text
    return parse_index_name(text)


def _require_url(text: str) -> None:
    """Raise Invalid unless a text is empty, or a URL that a webhook may have."""
    why = url_problem(text)
    if text and why:
        raise _invalid_key("url", why)


def url_problem(text: str) -> str:
    """
    Return why a text can be no URL of a webhook, without repeating it, or an empty text.

    An empty text is no URL, though the key of a webhook may be empty.
    """
    # a wrong port raises only when `port` is read
    try:
        url = urlsplit(text)
        host = url.hostname or ""
        _ = url.port
    except ValueError:
        return "it is no URL such as https://ci.example/hook"
    is_clean = text.isascii() and text.isprintable() and " " not in text
    is_short = len(text) <= MAX_URL_CHARS
    if not host.isascii():
        why = "its host has other letters than ASCII. Write it as DNS has it, such as xn--..."
    elif url.scheme not in {"http", "https"} or not host or not is_clean or not is_short:
        why = f"it is no URL such as https://ci.example/hook of at most {MAX_URL_CHARS} characters"
    elif url.username is not None or url.password is not None:
        why = "it has a user name or a password, which pages would show. Leave them out"
    elif url.fragment:
        why = "it has a part behind #, which is never sent. Leave it out"
    elif _is_never_asked(host):
        why = "its host is an address that is never asked, such as a link-local one"
    elif url.scheme == "http" and host not in _LOOPBACK:
        why = "http:// lets others read what is sent. Take https://, or an address of this machine"
    else:
        why = ""
    return why


def _is_never_asked(host: str) -> bool:
    """Return whether a host is an address that no setting can allow."""
    try:
        address = ip_address(host)
    except ValueError:  # a name, which is looked up at each connection
        return False
    return address.is_link_local or address.is_multicast or address.is_unspecified


def _invalid_key(key: str, why: str) -> Invalid:
    """Return the error about a key of a webhook."""
    return Invalid(f"{key}: {why}.", code="invalid_field", field=key)


class WebhookAdded(TableAdded, frozen=True, kw_only=True, omit_defaults=True, tag="webhook-added"):
    """A webhook was added."""


class WebhookChanged(
    TableChanged, frozen=True, kw_only=True, omit_defaults=True, tag="webhook-changed"
):
    """A webhook has other keys now."""


class WebhookRemoved(
    TableRemoved, frozen=True, kw_only=True, omit_defaults=True, tag="webhook-removed"
):
    """A webhook was removed."""


AnyWebhookEvent = WebhookAdded | WebhookChanged | WebhookRemoved


class WebhookCommit(EventCommit[AnyWebhookEvent], frozen=True, kw_only=True, omit_defaults=True):
    """One write of the document of webhooks, with the events that the write added."""


class StoredWebhook(StoredTable, frozen=True, kw_only=True, omit_defaults=True):
    """A webhook in the store."""


class WebhookList(TableList[StoredWebhook], frozen=True, kw_only=True, omit_defaults=True):
    """The webhooks in the store after the commits 1 to `revision`."""

    tables: tuple[StoredWebhook, ...] = ()
    commit: WebhookCommit | None = None
    """The last commit, number `revision`."""


class ListedWebhook(ListedTable, frozen=True, kw_only=True, omit_defaults=True):
    """A webhook in a list for people and programs."""

    keys: TableKeys = field(name="webhook")
    """The keys of the `[[webhook]]` table."""
    url_from: str = ""
    """The variable that has the URL, or an empty text if a key of the table has the URL."""
    secret_from: str = ""
    """
    Where the secret is: `store`, or the name of a variable. An empty text means that the webhook
    has no secret.
    """
    secret: str = ""
    """The secret, right after the secret was made, and an empty text in any other answer."""
    unknown_indexes: tuple[str, ...] = ()
    """The indexes that the webhook names and that do not exist."""

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """A warning for each index that the webhook names and that does not exist."""
        cautions = list[Caution]()
        for name in self.unknown_indexes:
            fact = f"there is no index {name}: correct the name, or add the index"
            cautions.append(Caution(fact))
        return tuple(cautions)


WEBHOOK_KIND: Final = TableKind[WebhookList, AnyWebhookEvent, ListedWebhook](
    noun="webhook",
    plural="webhooks",
    title="webhooks",
    exists_code="webhook_exists",
    changed_code="webhook_changed",
    fields=WebhookFields,
    fixed_keys={"name": "The name of a webhook stays as it is. Remove it, and add another one."},
    list_them=Advice(Remedy.LIST_WEBHOOKS),
    titles=("Webhook", "Keys", "Added"),
    added_word="added",
    document=WebhookList,
    commit=WebhookCommit,
    stored=StoredWebhook,
    events={
        WebhookAdded: "Added webhooks",
        WebhookChanged: "Changed webhooks",
        WebhookRemoved: "Removed webhooks",
    },
    added=WebhookAdded,
    changed=WebhookChanged,
    removed=WebhookRemoved,
    listed=ListedWebhook,
)
