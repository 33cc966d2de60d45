"""Section `[upstream]`, and its tables `[[upstream.index]]`: public packages of other indexes."""

import re
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, convert

from wheelyard.model.rule_keys import RuleKeys
from wheelyard.settings import value_checks as kinds
from wheelyard.settings.value_checks import LARGEST

INDEX_TABLES: Final = ("upstream", "index")
"""The path of the `[[upstream.index]]` tables."""
UPSTREAM_URL: Final = ("upstream", "url")
"""The path of the URL of the only upstream index."""
OF_ONE_INDEX: Final = ("url", "label", "file_hosts", "username", "password", "google")
"""Settings of `[upstream]` that stand in a `[[upstream.index]]` if there are such tables."""
DEFAULT_LABEL: Final = "upstream"
"""The label of the only upstream index, if the operator has chosen none."""


class UpstreamIndexSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One upstream index: `[upstream]` itself, or a table `[[upstream.index]]`."""

    url: kinds.IndexUrl
    label: kinds.Label
    file_hosts: tuple[kinds.Host, ...] | None = ()
    username: str = ""
    password: str = ""
    google: bool = False
    allow: tuple[kinds.Pattern, ...] | None = None
    """The names that the index is asked for, or None for all names."""
    deny: tuple[kinds.Pattern, ...] = ()
    page_ttl: kinds.Seconds = 600
    timeout: kinds.Timeout = 60

    def __repr__(self) -> str:  # without secrets, because it may be logged
        return f"UpstreamIndexSettings(label={self.label!r}, url={self.url!r})"

    @property
    def layer(self) -> str:
        """The label as layers, messages and the store have it: a-z, 0-9 and hyphens."""
        return re.sub("[^a-z0-9]+", "-", self.label.lower())


class UpstreamSettings(RuleKeys, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[upstream]`: other indexes whose packages are served beside the private ones."""

    enabled: bool | None = None
    """
    Whether names that are not private are [looked up elsewhere](upstream.md). Unset: if there is a
    `url`.
    """
    url: kinds.IndexUrl = ""
    """The Simple API of the upstream index, such as `https://index.example.com/simple/`."""
    label: kinds.Label = ""
    """Short name of the upstream index in messages, metrics and the store. Empty: `upstream`."""
    file_hosts: tuple[kinds.Host, ...] | None = None
    """
    More hosts of the files, beside the host of `url`. Unset: one page of the upstream index says
    them.
    """
    username: str = ""
    """The user name for the upstream index, if it needs one."""
    password: str = ""
    """The password or token for the upstream index. From the environment only."""
    google: bool = False
    """
    Whether the upstream index is an Artifact Registry, asked with the credentials of this machine
    (ADC).
    """
    private: tuple[kinds.Pattern, ...] = ()
    """Names that are never asked for upstream, as `[access] private_names`. `*` and `?` match."""
    i_have_no_private_prefix: bool = False
    """Whether `private` is empty on purpose, so that no warning says it."""
    private_missing: Literal["empty", "404"] = "empty"
    """What a private name without a project answers: a page without files, or 404."""
    check_upload: bool = True
    """Whether an upload of a new name is refused (403) if the name exists upstream."""
    shadow: tuple[kinds.Pattern, ...] = ()
    """Names that may be uploaded although they exist upstream. They then are private."""
    files: Literal["cache", "proxy"] = "cache"
    """Whether files are kept in the store, or only passed on."""
    max_cache_file_mb: Annotated[int, Meta(ge=0, le=LARGEST, title="MiB")] = 0
    """Larger files are passed on and not kept. 0: all are kept."""
    bucket: kinds.Apart = ""
    """Where pages and files of upstream indexes are kept. Empty: the store, below `upstream/`."""
    osv: kinds.FileName = ""
    """A file or folder in OSV format. Malicious versions in it are not shown."""
    page_ttl: kinds.Seconds = 600
    """How long a page is served without asking the upstream whether it has changed."""
    max_stale: kinds.Seconds = 86_400
    """How old a page may be that is served while the upstream does not answer."""
    timeout: kinds.Timeout = 60
    """How long an upstream may be silent, before a page or a file begins and while it comes."""
    keep_removed: bool = False
    """Whether kept files stay available after the upstream has removed them from its page."""
    offline: bool = False
    """Whether no connection is ever opened: only what is in the store is served."""
    allow_private_networks: tuple[kinds.Network, ...] = ()
    """Private addresses that an upstream may have, such as `10.0.0.0/8`."""
    allow_insecure: bool = False
    """Whether an upstream may be asked over plain HTTP."""
    ca_file: kinds.FileName = ""
    """More certificate authorities for upstream indexes, in PEM."""
    trust_env: bool = False
    """Whether `HTTPS_PROXY` and its like apply. Addresses are then checked by the proxy alone."""
    index: tuple[dict[str, Any], ...] = ()
    """`[[upstream.index]]` tables, as written: several upstream indexes, in order."""

    def __repr__(self) -> str:
        # without secrets, because it may be logged
        return f"UpstreamSettings(enabled={self.enabled}, url={self.url!r})"

    @property
    def is_on(self) -> bool:
        """Whether there is an upstream index."""
        if self.enabled is not None:
            return self.enabled
        return bool(self.url or self.index)

    @property
    def labels(self) -> tuple[str, ...]:
        """The upstream indexes as layers name them, in order, or none while they are off."""
        if not self.is_on:
            return ()
        return tuple(index.layer for index in self.indexes)

    @property
    def finds_file_hosts(self) -> bool:
        """Whether a page of the upstream index has to say which hosts its files are on."""
        return self.is_on and not self.index and self.file_hosts is None and not self.offline

    @property
    def indexes(self) -> tuple[UpstreamIndexSettings, ...]:
        """
        The upstream indexes in order, also while they are off, or none if no URL is set.

        A table that lacks `allow`, `deny`, `page_ttl` or `timeout` has the value of `[upstream]`.
        """
        defaults: dict[str, Any] = {
            # an empty list allows all names
            "allow": self.allow or None,
            "deny": self.deny,
            "page_ttl": self.page_ttl,
            "timeout": self.timeout,
        }
        if self.index:
            tables = [{**defaults, **table} for table in self.index]
            return convert(tables, tuple[UpstreamIndexSettings, ...])
        if not self.url:
            return ()
        # a key of one upstream index has the same name in [upstream]
        values: dict[str, Any] = {}
        for name in UpstreamIndexSettings.__struct_fields__:
            if name != "label" and name not in defaults:
                values[name] = getattr(self, name)
        label = self.label or DEFAULT_LABEL
        return (UpstreamIndexSettings(label=label, **values, **defaults),)
