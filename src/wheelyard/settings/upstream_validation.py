"""Validation of section `[upstream]`: what would make it unsafe."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from wheelyard.settings.sections import Settings, is_loopback
from wheelyard.settings.upstream_section import (
    UpstreamIndexSettings,
    UpstreamSettings,
    variable_part,
)

Network = IPv4Network | IPv6Network

_ONE_INDEX: Final = ("url", "label", "file_hosts", "username", "password", "google")
"""Settings of `[upstream]` that a `[[upstream.index]]` has of its own."""


def upstream_errors(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with `[upstream]` and its tables, if it is enabled."""
    upstream = settings.upstream
    if upstream.enabled:
        yield from _set_errors(upstream, settings.base_url)
        yield from _contradictions(settings)
        for number, index in enumerate(upstream.indexes, 1):
            place = f"upstream.index {number}" if upstream.index else "upstream"
            for key, why in _connection_errors(index, upstream):
                yield f"{place}.{key}: {why}"


def private_name_patterns(settings: Settings) -> tuple[str, ...]:
    """Return the patterns of names that no upstream is asked for: those of both settings."""
    return (*settings.upstream.private, *settings.access.private_names)


def networks_in(upstream: UpstreamSettings) -> tuple[Network, ...]:
    """Return `allow_private_networks`, parsed."""
    return tuple(ip_network(each) for each in upstream.allow_private_networks)


def _set_errors(upstream: UpstreamSettings, own_url: str) -> Iterator[str]:
    indexes = upstream.indexes
    if not indexes:
        why = "Set url to the Simple API of the index whose packages are meant; there is no default"
        yield f"upstream.enabled: no upstream index is named. {why}"
    own = [name for name in _ONE_INDEX if upstream.index and getattr(upstream, name)]
    if own:
        why = "Write it into one of the [[upstream.index]] tables"
        yield f"upstream.{own[0]}: there are several upstream indexes. {why}"
    labels = [variable_part(each.label) for each in indexes]
    if len(set(labels)) < len(labels):
        yield "upstream.index.label: two tables have the same. Give each its own"
    urls = [each.url.rstrip("/").lower() for each in indexes]
    if len(set(urls)) < len(urls):
        yield "upstream.index.url: two tables have the same. Leave one of them out"
    if any(f"{each}/".startswith(f"{own_url.lower()}/") for each in urls):
        yield "upstream.url: it is this index itself. Name another one"


def _contradictions(settings: Settings) -> Iterator[str]:
    upstream = settings.upstream
    is_decided = upstream.mode or upstream.i_have_no_private_prefix
    if not private_name_patterns(settings) and not is_decided:
        yield (
            "upstream.private: no name is said to be private. List the names that your own "
            'packages begin with, as ["acme", "acme-*"], so that they are never looked up '
            "elsewhere; if they have none in common, set i_have_no_private_prefix"
        )
    if upstream.allow and not upstream.mode:
        why = 'Set mode = "allowlist", so that only these names are looked up'
        yield f"upstream.allow: without a mode it has no effect. {why}"
    if upstream.min_cvss and not upstream.osv:
        why = "Name the file or folder of vulnerabilities in osv"
        yield f"upstream.min_cvss: there is nothing to compare with. {why}"


def _connection_errors(
    index: UpstreamIndexSettings, upstream: UpstreamSettings
) -> Iterator[tuple[str, str]]:
    """Yield the key of each setting that would make a connection unsafe, and why."""
    if index.google and (index.username or index.password):
        yield "google", "it sends this machine's credentials. Leave username and password out"
    if index.password and not index.username:
        yield "password", "there is no username. Set both; for a token it may be any name"
    parts = urlsplit(index.url)
    if parts.scheme.lower() == "https":
        return
    if index.google:
        yield "google", "Google's credentials are not sent over plain HTTP. Write https://"
    elif not (upstream.allow_insecure or _is_allowed_loopback(parts.hostname or "", upstream)):
        why = (
            "over plain HTTP others can change what is installed here. Write https://; for a "
            "server of this machine list its address in allow_private_networks; or set "
            "allow_insecure"
        )
        yield "url", why


def _is_allowed_loopback(host: str, upstream: UpstreamSettings) -> bool:
    """Return whether a host is this machine, by an address in `allow_private_networks`."""
    if not is_loopback(host):
        return False
    addresses = ["127.0.0.1", "::1"] if host == "localhost" else [host]
    networks = networks_in(upstream)
    return any(ip_address(address) in network for address in addresses for network in networks)
