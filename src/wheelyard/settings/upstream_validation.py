"""Validation of section `[upstream]`: its values, and what would make it unsafe."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import chain
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

from wheelyard.errors import Invalid
from wheelyard.model.name_patterns import normalise_pattern
from wheelyard.settings.sections import MEMORY_LOCATION, Settings, is_loopback
from wheelyard.settings.upstream_section import (
    UpstreamIndexSettings,
    UpstreamSettings,
    parse_moment,
    variable_part,
)
from wheelyard.settings.value_checks import is_host, is_location, is_url, quote_safely
from wheelyard.storage.location import BUCKET_FORMS

Network = IPv4Network | IPv6Network

_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_ONE_INDEX: Final = ("url", "label", "file_hosts", "username", "password", "google")
"""Settings of `[upstream]` that a `[[upstream.index]]` has of its own."""


def upstream_errors(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with `[upstream]` and its tables, most of it only if it is enabled."""
    upstream = settings.upstream
    tables = [*zip(_places(upstream), upstream.indexes, strict=True)]
    for place, index in tables:
        yield from _index_errors(place, index)
    if upstream.enabled:
        yield from _set_errors(upstream, settings.base_url)
        yield from _contradictions(settings)
        for place, index in tables:
            yield from _connection_errors(place, index, upstream)


def private_name_patterns(settings: Settings) -> tuple[str, ...]:
    """Return the patterns of names that no upstream is asked for: those of both settings."""
    return (*settings.upstream.private, *settings.access.private_names)


def networks_in(upstream: UpstreamSettings) -> tuple[Network, ...]:
    """Return `allow_private_networks`, parsed."""
    return tuple(ip_network(each) for each in upstream.allow_private_networks)


def _places(upstream: UpstreamSettings) -> list[str]:
    """Return how messages name the tables of `upstream.indexes`."""
    count = len(upstream.index)
    return [f"[[upstream.index]] number {each}:" for each in range(1, count + 1)] or (
        ["[upstream]"] if upstream.url else []
    )


def _is_pattern(text: str) -> bool:
    with suppress(Invalid):
        return bool(normalise_pattern(text))
    return False


def _is_exempt(text: str) -> bool:
    name, equals, version = text.partition("==")
    with suppress(InvalidVersion):
        return _is_pattern(name.strip()) and bool(not equals or Version(version))
    return False


def _is_place(text: str) -> bool:
    return text != MEMORY_LOCATION and is_location(text)


def _is_moment(text: str) -> bool:
    return parse_moment(text) is not None


def _is_label(text: str) -> bool:
    return _LABEL.fullmatch(text) is not None


def _is_network(text: str) -> bool:
    with suppress(ValueError):
        return bool(ip_network(text))
    return False


_PATTERN_RULE: Final = (_is_pattern, "a name, or a pattern with * or ?, such as acme-*")
_HOST_RULE: Final = (is_host, "a host such as files.example.com")
_LABEL_RULE: Final = (
    _is_label,
    "up to 40 letters, digits, dots and hyphens, such as pypi",
)
_URL_RULE: Final = (
    is_url,
    "the URL of a Simple API such as https://index.example.com/simple/, without a password",
)
UPSTREAM_RULES: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = MappingProxyType(
    {
        "upstream.url": _URL_RULE,
        "upstream.label": _LABEL_RULE,
        "upstream.file_hosts": _HOST_RULE,
        **{f"upstream.{key}": _PATTERN_RULE for key in ("private", "allow", "deny", "shadow")},
        "upstream.cooldown_allow": (_is_exempt, "a name, a pattern, or NAME==VERSION"),
        "upstream.snapshot": (
            _is_moment,
            "a date such as 2026-10-31, or a time such as 2026-10-31T12:00:00Z",
        ),
        "upstream.bucket": (_is_place, f"a folder, {BUCKET_FORMS}"),
        "upstream.allow_private_networks": (
            _is_network,
            "a network such as 10.0.0.0/8, in which all bits after the prefix are 0",
        ),
    }
)
"""By setting: its check, and the text of the error message after "Write"."""


def _index_errors(place: str, index: UpstreamIndexSettings) -> Iterator[str]:
    values = [(_URL_RULE, "url", index.url), (_LABEL_RULE, "label", index.label)]
    values += [(_HOST_RULE, "file_hosts", each) for each in index.file_hosts]
    values += [(_PATTERN_RULE, "allow", each) for each in index.allow or ()]
    values += [(_PATTERN_RULE, "deny", each) for each in index.deny]
    for (holds, remedy), key, value in values:
        if not holds(value):
            yield f"{place} {key}: {quote_safely(value)} is none. Write {remedy}"


def _set_errors(upstream: UpstreamSettings, own_url: str) -> Iterator[str]:
    indexes = upstream.indexes
    if not indexes:
        why = "Set url to the Simple API of the index whose packages are meant; there is no default"
        yield f"[upstream] enabled: no upstream index is named. {why}"
    own = [name for name in _ONE_INDEX if upstream.index and getattr(upstream, name)]
    if own:
        why = "Write it into one of the [[upstream.index]] tables"
        yield f"[upstream] {own[0]}: there are several upstream indexes. {why}"
    labels = [variable_part(each.label) for each in indexes]
    if len(set(labels)) < len(labels):
        yield "[[upstream.index]] label: two tables have the same. Give each its own"
    urls = [each.url.rstrip("/").lower() for each in indexes]
    if len(set(urls)) < len(urls):
        yield "[[upstream.index]] url: two tables have the same. Leave one of them out"
    if any(f"{each}/".startswith(f"{own_url.lower()}/") for each in urls):
        yield "[upstream] url: it is this index itself. Name another one"


def _contradictions(settings: Settings) -> Iterator[str]:
    upstream = settings.upstream
    is_decided = upstream.mode or upstream.i_have_no_private_prefix
    if not private_name_patterns(settings) and not is_decided:
        yield (
            "[upstream] private: no name is said to be private. List the names that your own "
            'packages begin with, as ["acme", "acme-*"], so that they are never looked up '
            "elsewhere; if they have none in common, set i_have_no_private_prefix"
        )
    if upstream.allow and not upstream.mode:
        why = 'Set mode = "allowlist", so that only these names are looked up'
        yield f"[upstream] allow: without a mode it has no effect. {why}"
    if upstream.min_cvss and not upstream.osv:
        why = "Name the file or folder of vulnerabilities in osv"
        yield f"[upstream] min_cvss: there is nothing to compare with. {why}"


def _connection_errors(
    place: str, index: UpstreamIndexSettings, upstream: UpstreamSettings
) -> Iterator[str]:
    if index.google and (index.username or index.password):
        why = "it sends this machine's credentials. Leave username and password out"
        yield f"{place} google: {why}"
    if index.password and not index.username:
        yield f"{place} password: there is no username. Set both; for a token it may be any name"
    parts = urlsplit(index.url)
    host = parts.hostname or ""
    if parts.scheme.lower() == "https":
        return
    if index.google:
        yield f"{place} google: Google's credentials are not sent over plain HTTP. Write https://"
    elif not upstream.allow_insecure and not (
        is_loopback(host) and _is_allowed_loopback(host, upstream)
    ):
        yield (
            f"{place} url: over plain HTTP others can change what is installed here. Write "
            "https://; for a server of this machine list its address in allow_private_networks; "
            "or set allow_insecure"
        )


def _is_allowed_loopback(host: str, upstream: UpstreamSettings) -> bool:
    """Return whether `allow_private_networks` has the loopback address that `host` means."""
    addresses = ["127.0.0.1", "::1"] if host == "localhost" else [host]
    pairs = chain.from_iterable(
        ((ip_address(each), network) for network in networks_in(upstream)) for each in addresses
    )
    return any(address in network for address, network in pairs)
