"""Section `[upstream]`, and its tables `[[upstream.index]]`: public packages of other indexes."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, time
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from wheelyard.errors import Invalid
from wheelyard.model.decoding import InvalidField, decode_table
from wheelyard.settings.value_types import Days, FileName, Hosts, NameList, Seconds, Url

DEFAULT_LABEL: Final = "upstream"
"""The label of the only upstream index, if the operator has chosen none."""


class UpstreamIndexSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One upstream index: `[upstream]` itself, or a table `[[upstream.index]]`."""

    url: str
    label: str
    file_hosts: tuple[str, ...] = ()
    username: str = ""
    password: str = ""
    google: bool = False
    allow: NameList | None = None
    """The names that it is asked for; None for all."""
    deny: NameList = ()
    page_ttl: Seconds = 600

    def __repr__(self) -> str:  # without secrets, because it may be logged
        return f"UpstreamIndexSettings(label={self.label!r}, url={self.url!r})"


class UpstreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[upstream]`: other indexes whose packages are served beside the private ones."""

    enabled: bool = False
    """Whether names that are not private are [looked up at other indexes](upstream.md)."""
    url: Url = ""
    """The Simple API of the upstream index, such as `https://index.example.com/simple/`."""
    label: str = ""
    """Its short name in messages, metrics and the store; empty: `upstream`."""
    file_hosts: Hosts = ()
    """More hosts that its files may come from; its own host always may."""
    username: str = ""
    """The user name for the upstream index, if it needs one."""
    password: str = ""
    """Its password or token; from the environment only."""
    google: bool = False
    """Whether it is an Artifact Registry, asked with the credentials of this machine (ADC)."""
    private: NameList = ()
    """Names that are never asked for upstream, as `[access] private_names`; `*` and `?` match."""
    i_have_no_private_prefix: bool = False
    """Whether `private` may be empty although `mode` is not set."""
    private_missing: Literal["empty", "404"] = "empty"
    """What a private name without a project answers: a page without files, or 404."""
    mode: Literal["", "open", "allowlist"] = ""
    """Which other names are looked up: all, or those of `allow`; empty: all."""
    allow: NameList = ()
    """The names that `mode = "allowlist"` allows."""
    deny: NameList = ()
    """Names that are not looked up, whatever `allow` says."""
    check_upload: bool = True
    """Whether an upload of a new name is refused (403) if the name exists upstream."""
    shadow: NameList = ()
    """Names that may be uploaded although they exist upstream; they then are private."""
    files: Literal["cache", "proxy", "redirect"] = "cache"
    """How files are sent: kept in the store, only passed on, or by a redirect to the upstream."""
    max_cache_file_mb: Annotated[int, Meta(ge=0, title="MiB")] = 0
    """Larger files are passed on and not kept; 0: all are kept."""
    bucket: Annotated[str, Meta(title="folder or bucket")] = ""
    """Where pages and files of upstream indexes are kept; empty: the store, below `upstream/`."""
    cooldown_days: Days = 0
    """Files that were uploaded later than so many days ago are not shown."""
    cooldown_allow: Annotated[tuple[str, ...], Meta(title="list of names, `NAME==VERSION`")] = ()
    """What `cooldown_days` does not apply to."""
    cooldown_missing: Literal["hide", "first_seen"] = "hide"
    """A file without a time of upload is hidden, or counts from when it was first seen here."""
    snapshot: Annotated[str, Meta(title="date or time")] = ""
    """Files that were uploaded after this date (UTC) are not shown, such as `2026-10-31`."""
    approval: bool = False
    """Whether only what `wheelyard upstream approve` has approved is shown."""
    blocked_licenses: Annotated[tuple[str, ...], Meta(title="list of SPDX ids")] = ()
    """Licences whose releases are not shown: `AGPL-3.0-only`, `GPL-*`, or `unknown`."""
    osv: FileName = ""
    """A file or folder in OSV format; malicious versions in it are not shown."""
    min_cvss: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """Versions with a vulnerability of at least this CVSS score in `osv` are hidden; 0: none."""
    page_ttl: Seconds = 600
    """How long a page is served without asking the upstream whether it has changed."""
    max_stale: Seconds = 86_400
    """How old a page may be that is served while the upstream does not answer."""
    keep_removed: bool = False
    """Whether kept files stay available after the upstream has removed them from its page."""
    offline: bool = False
    """Whether no connection is ever opened: only what is in the store is served."""
    allow_private_networks: Annotated[tuple[str, ...], Meta(title="list of networks")] = ()
    """Private addresses that an upstream may have, such as `10.0.0.0/8`."""
    allow_insecure: bool = False
    """Whether an upstream may be asked over plain HTTP."""
    ca_file: FileName = ""
    """More certificate authorities for upstream indexes, in PEM."""
    trust_env: bool = False
    """Whether `HTTPS_PROXY` and its like apply; addresses are then checked by the proxy alone."""
    index: tuple[dict[str, Any], ...] = ()
    """`[[upstream.index]]` tables, as written: several upstream indexes, in order."""

    def __repr__(self) -> str:  # without secrets, because it may be logged
        return f"UpstreamSettings(enabled={self.enabled}, url={self.url!r}, mode={self.mode!r})"

    @property
    def indexes(self) -> tuple[UpstreamIndexSettings, ...]:
        """
        The upstream indexes in order, each with the defaults of `[upstream]` for what it lacks.

        Raises Invalid (code `bad_setting`) for a wrong table.
        """
        allow = self.allow if self.mode == "allowlist" else None
        defaults: dict[str, Any] = {
            "allow": allow,
            "deny": self.deny,
            "page_ttl": self.page_ttl,
        }
        if self.index:
            tables = [{**defaults, **each} for each in self.index]
            return tuple(parse_index(number, each) for number, each in enumerate(tables, 1))
        if not self.url:
            return ()
        names = UpstreamIndexSettings.__struct_fields__
        own = {name: getattr(self, name) for name in names if name not in ("label", *defaults)}
        label = self.label or DEFAULT_LABEL
        return (UpstreamIndexSettings(label=label, **own, **defaults),)

    @property
    def snapshot_at(self) -> datetime | None:
        """The last moment (UTC) of `snapshot`; a date is the whole day. None if there is none."""
        return parse_moment(self.snapshot) if self.snapshot else None


def variable_part(label: str) -> str:
    """Return how a label stands in the names of variables: `my-index` is `MY_INDEX`."""
    return re.sub("[^A-Z0-9]", "_", label.upper())


def parse_index(number: int, table: Mapping[str, object]) -> UpstreamIndexSettings:
    """
    Return the upstream index in a table; `number` is its position among the tables, from 1.

    Raise Invalid (code `bad_setting`) for unknown or missing keys and for values of other types.
    """
    try:
        return decode_table(table, UpstreamIndexSettings)
    except InvalidField as fault:
        why = f"[[upstream.index]] number {number}: {fault.message}."
        raise Invalid(why, code="bad_setting") from fault


def parse_moment(text: str) -> datetime | None:
    """Return the end of a date, or a time, in UTC; None if it is malformed."""
    with suppress(ValueError):
        found = datetime.fromisoformat(text)
        if len(text) == len("2026-10-31"):
            return datetime.combine(found.date(), time.max, UTC)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    return None
