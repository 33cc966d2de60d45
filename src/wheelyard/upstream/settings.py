"""What the operator says about upstream indexes, and the errors that clients get when one fails."""

from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network
from math import ceil
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.errors import (
    BAD_UPSTREAM,
    UPSTREAM_BUSY,
    UPSTREAM_REFUSED,
    UPSTREAM_UNAVAILABLE,
    UPSTREAM_UNPROVEN,
    Unavailable,
)
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import DEFAULT_PORTS, Url, UserPassword
from wheelyard.model.access import NO_PATTERNS, NameFilter, NamePatterns
from wheelyard.remedies import Advice, Caution, Remedy

READING: Final = "6"
"""A text that changes whenever `parsing` takes something else from a page."""

SLOWNESS_SECONDS: Final = 30.0
"""Seconds that an answer may be behind the minimum rate, besides one silence."""
OUTAGE_SECONDS: Final = 2
"""Seconds after which a client may try again. pip tries five times before it says anything."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamServer:
    """One upstream index: its URL, its credential, and what it may be asked for."""

    url: Url
    """The URL of its Simple API, with a slash at the end and without a credential."""
    label: str
    """The name of the index in messages: lower-case letters, digits and `-`."""
    file_hosts: tuple[str, ...] | None = ()
    """
    More hosts that the files of the index may be on, each as `host` or `host:port`.

    None until a page has said them (`upstream/file_hosts.py`).
    """
    login: UserPassword | None = field(default=None, repr=False)
    """User name and password, sent to this index alone."""
    google: bool = False
    """Whether requests have an access token of Google's Application Default Credentials."""
    names: NameFilter = field(default_factory=NameFilter)
    """The names that the index is asked for. It never owns another name."""
    page_ttl: float = 600.0
    """Seconds for which a page is used without asking again."""
    timeout: float = 60.0
    """Seconds that may pass until an answer begins, and between two parts of it."""

    @property
    def patience(self) -> float:
        """
        Seconds that the body of an answer may be behind the minimum rate.

        They are more than `timeout`, so that a body may be silent once for that long.
        """
        return self.timeout + SLOWNESS_SECONDS

    @property
    def id(self) -> str:
        """The label, and eight digits of the digest of the URL: another URL has another cache."""
        # without a user name, so that with another credential the kept pages and files are found
        digest = sha256(self.url.without_userinfo.encode()).hexdigest()
        return f"{self.label}-{digest[:8]}"

    @property
    def reading(self) -> str:
        """
        Eight digits that change when the same page would be read in another way.

        A page with other digits, such as from before a new host was set, is asked for again, whole.
        """
        rules = [READING]
        rules += sorted(self.file_hosts or ())
        return sha256(" ".join(rules).encode()).hexdigest()[:8]

    def refusal(self, url: Url) -> str:
        """
        Return why nothing may be fetched from a URL, or an empty text.

        While the hosts of files are not known, only its own host may be asked.
        """
        # whoever listens on the way must not be able to lead requests from https to http
        if self.url.is_secure and not url.is_secure:
            return "its URL is http, and that of the index is https"
        if self.is_own(url):
            return ""
        # the settings may name the default port, which a URL leaves out
        names = {url.authority, f"{url.host}:{url.port}"}
        allowed_names = {host.lower() for host in self.file_hosts or ()}
        if not names.isdisjoint(allowed_names):
            return ""
        why = f"the host {url.authority} is not in upstream.file_hosts"
        if self.file_hosts is None:
            why += "; if its URL only leads there, use the URL there"
        return why

    def refusal_on_page(self, url: Url) -> str:
        """
        Return why a file at a URL of a page may not be fetched, or an empty text.

        While the hosts of files are not known, the page says them, so every host may be one.
        """
        is_downgrade = self.url.is_secure and not url.is_secure
        if self.file_hosts is None and not is_downgrade:
            return ""
        return self.refusal(url)

    def is_own(self, url: Url) -> bool:
        """Return whether a URL is on the host of the index, at its port or the default one."""
        if url.origin == self.url.origin:
            return True
        return url.host == self.url.host and url.port == DEFAULT_PORTS[url.scheme]


class UpstreamConfig(Struct, frozen=True, kw_only=True):
    """All upstream indexes, in the order in which they are asked, and the settings for all."""

    servers: tuple[UpstreamServer, ...]
    private: NamePatterns = NO_PATTERNS
    """Names that no upstream index is asked for."""
    max_stale: float = 86_400.0
    """Seconds for which a page is used while its index does not answer."""
    allow_private_networks: tuple[Network, ...] = ()
    """Networks that are not public, and may be connected to all the same."""
    allow_insecure: bool = False
    """Whether plain http may leave this machine."""
    ca_file: str = ""
    """A file of certificate authorities to trust beside those of the machine."""
    trust_env: bool = False
    """Whether the proxies of the environment are used."""
    offline: bool = False
    """Whether no connection is ever opened."""
    keep_removed: bool = False
    """Whether a file that its index does not list any more is still served from the store."""
    read_only: bool = False
    """Whether nothing is written to the store."""
    contact: str = ""
    """The URL of this index, for the User-Agent, or empty if it is not known."""

    def label_of(self, upstream_id: str) -> str:
        """Return the label of the upstream with this id, or an empty text if there is none."""
        for server in self.servers:
            if server.id == upstream_id:
                return server.label
        return ""

    @property
    def via(self) -> str:
        """
        The name of this index in the header Via.

        It is made of the URLs that this index asks, so all its processes have the same name. A
        request from another index that asks the same URLs counts as a loop, too.
        """
        urls = " ".join(server.url.without_userinfo for server in self.servers)
        # a digest, as the next index need not know the URLs
        return f"wheelyard-{sha256(urls.encode()).hexdigest()[:16]}"

    def is_loop(self, via: str) -> bool:
        """Return whether a request with this Via header was sent by this index itself."""
        return bool(via) and self.via in via


def is_outage(fault: FetchError) -> bool:
    """Return whether an upstream index has not answered, so that it may answer later."""
    is_busy = fault.status == HTTPStatus.TOO_MANY_REQUESTS
    is_broken = fault.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return fault.is_transient or fault.is_unreachable or is_busy or is_broken


def unanswered_error(label: str, name: NormalizedName, fault: FetchError) -> Unavailable:
    """
    Return the error for a project whose upstream index gives no answer that can be used.

    Its code is `upstream_unavailable` or `upstream_busy` if the index may answer later, and
    `upstream_refused` if it answers other requests. Else it is `bad_upstream`.
    """
    if is_outage(fault):
        return Unavailable(
            f"The upstream index {label} does not say what it has of {name}: {fault.why}.",
            code=UPSTREAM_BUSY if fault.is_busy else UPSTREAM_UNAVAILABLE,
            retry_after=ceil(fault.wait) or OUTAGE_SECONDS,
        )
    if fault.is_denied:
        return Unavailable(
            f"The upstream index {label} refuses what was asked for of {name}: {fault.why}. Ask "
            "whoever runs that index, or use another version or package.",
            code=UPSTREAM_REFUSED,
        )
    return Unavailable(
        f"What the upstream index {label} answers about {name} cannot be used: {fault.why}. Tell "
        "the operator of this index.",
        code=BAD_UPSTREAM,
    )


def unproven_error(server: UpstreamServer, why: str) -> Unavailable:
    """Return the error for a new name that is free only by the answer of an unproven index."""
    warning = unproven_warning(server, why)
    return Unavailable(
        f"{warning.message} Until then no new name can be uploaded, as it may be public; one that "
        "matches upstream.private can.",
        code=UPSTREAM_UNPROVEN,
        advice=warning.advice,
    )


def unproven_warning(server: UpstreamServer, why: str) -> Caution:
    """Return the warning that a server is not proven to be an index."""
    return Caution(
        f"{server.url.redacted} of the upstream index {server.label} has not shown that it is an "
        f"index: {why}. Correct the url.",
        Advice(Remedy.PROVE_UPSTREAM),
    )


def offline_error(subject: str) -> Unavailable:
    """Return the error for a project or a file that would need a connection, which is forbidden."""
    return Unavailable(
        f"This index opens no connection to others (upstream.offline), and {subject} is not in it. "
        "Ask the operator to install it once through this store where there is a connection.",
        code=UPSTREAM_UNAVAILABLE,
    )
