"""What the operator says about other indexes, and what clients are told when one fails."""

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
"""Another text whenever `parsing` takes something else from a page."""

SLOWNESS_SECONDS: Final = 30.0
"""Seconds that an answer may be behind the minimum rate, besides one silence."""
OUTAGE_SECONDS: Final = 2
"""Seconds after which a client may try again. pip does so five times before it says anything."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamServer:
    """One upstream index: where it is, and what it is asked with."""

    url: Url
    """The URL of its Simple API, with a slash at the end and without a credential."""
    label: str
    """The name that messages call it by: lower-case letters, digits and `-`."""
    file_hosts: tuple[str, ...] | None = ()
    """
    More hosts that its files may be on, each as `host` or `host:port`.

    None until one page has said them (`upstream/file_hosts.py`).
    """
    login: UserPassword | None = field(default=None, repr=False)
    """User name and password, sent to this index alone."""
    google: bool = False
    """Whether it is asked with an access token of Google's Application Default Credentials."""
    names: NameFilter = field(default_factory=NameFilter)
    """Which names it is asked for. No other one is ever its own."""
    page_ttl: float = 600.0
    """Seconds for which a page is used without asking again."""
    timeout: float = 60.0
    """Seconds until an answer begins, and without a byte of it."""

    @property
    def patience(self) -> float:
        """
        Seconds that the body of an answer may be behind the minimum rate.

        A single silence of `timeout` seconds leaves some, as single bytes do not end a silence.
        """
        return self.timeout + SLOWNESS_SECONDS

    @property
    def id(self) -> str:
        """The label, and eight digits of the digest of the URL: another URL has another cache."""
        # without a user name, so that another credential finds what is kept
        digest = sha256(self.url.without_userinfo.encode()).hexdigest()
        return f"{self.label}-{digest[:8]}"

    @property
    def reading(self) -> str:
        """
        Eight digits that change when the same page would be read otherwise.

        A page that was read under others is asked for again, whole, such as after a new host.
        """
        rules = [READING]
        rules += sorted(self.file_hosts or ())
        return sha256(" ".join(rules).encode()).hexdigest()[:8]

    def refusal(self, url: Url) -> str:
        """
        Return why nothing may be fetched from a URL, or an empty text.

        While the hosts of files are not known, only its own host may be asked.
        """
        # whoever listens on the way must not be able to lead us from https to http
        if self.url.is_secure and not url.is_secure:
            return "its URL is http, and that of the index is https"
        if self.is_own(url):
            return ""
        # the settings may name the default port, which a URL leaves out
        names = {url.authority, f"{url.host}:{url.port}"}
        if not names.isdisjoint(host.lower() for host in self.file_hosts or ()):
            return ""
        why = f"the host {url.authority} is not in upstream.file_hosts"
        if self.file_hosts is None:
            why += "; if its URL only leads there, use the URL there"
        return why

    def refusal_on_page(self, url: Url) -> str:
        """
        Return why a file at a URL of a page may not be fetched, or an empty text.

        While the hosts of files are not known, the page may say them, so each host may be one.
        """
        if self.file_hosts is None and (url.is_secure or not self.url.is_secure):
            return ""
        return self.refusal(url)

    def is_own(self, url: Url) -> bool:
        """Return whether a URL is on the host of the index, at its port or the default one."""
        if url.origin == self.url.origin:
            return True
        return url.host == self.url.host and url.port == DEFAULT_PORTS[url.scheme]


class UpstreamConfig(Struct, frozen=True, kw_only=True):
    """All upstream indexes, in the order in which they are asked, and the rules for all."""

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

        It is made of what the index asks: two indexes of one chain that ask the same ones are one,
        or ask each other for ever.
        """
        urls = " ".join(server.url.without_userinfo for server in self.servers)
        # a digest, as the URLs are nothing that the next index has to know
        return f"wheelyard-{sha256(urls.encode()).hexdigest()[:16]}"

    def is_loop(self, via: str) -> bool:
        """Return whether a request with this Via header was sent by this index itself."""
        return bool(via) and self.via in via


def is_outage(fault: FetchError) -> bool:
    """Return whether an upstream has not answered, so that it may answer later."""
    is_busy = fault.status == HTTPStatus.TOO_MANY_REQUESTS
    is_broken = fault.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return fault.is_transient or fault.is_unreachable or is_busy or is_broken


def unanswered(label: str, name: NormalizedName, fault: FetchError) -> Unavailable:
    """
    Return the error for a project whose upstream index has no answer, or one of no use.

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


def unproven(server: UpstreamServer, why: str) -> Unavailable:
    """Return the error for a new name that only an index without a proof says is free."""
    warning = not_proven(server, why)
    return Unavailable(
        f"{warning.message} Until then no new name can be uploaded, as it may be public; one that "
        "matches upstream.private can.",
        code=UPSTREAM_UNPROVEN,
        advice=warning.advice,
    )


def not_proven(server: UpstreamServer, why: str) -> Caution:
    """Return the warning that an index is not proven to be one."""
    return Caution(
        f"{server.url.redacted} of the upstream index {server.label} has not shown that it is an "
        f"index: {why}. Correct the url.",
        Advice(Remedy.PROVE_UPSTREAM),
    )


def is_offline(what: str) -> Unavailable:
    """Return the error for a project or a file that would need a connection, which is forbidden."""
    return Unavailable(
        f"This index opens no connection to others (upstream.offline), and {what} is not in it. "
        "Ask the operator to install it once through this store where there is a connection.",
        code=UPSTREAM_UNAVAILABLE,
    )
