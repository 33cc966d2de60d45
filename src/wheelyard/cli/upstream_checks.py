"""What the settings say of upstream indexes, and warnings of those that may be none."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import click

from wheelyard.cli.output import warn
from wheelyard.concurrency.daemon_threads import DaemonThreads
from wheelyard.errors import Unavailable, WheelyardError
from wheelyard.http.observability.logs import configure_logging
from wheelyard.model.name_patterns import parse_name_patterns
from wheelyard.model.text import escaped
from wheelyard.settings.sections import Settings
from wheelyard.settings.upstream_validation import private_name_patterns
from wheelyard.wiring.index import Index, open_index
from wheelyard.wiring.stores import has_store

logger = logging.getLogger("wheelyard")

NAME_KEYS: Final = ("allow", "deny")
"""The patterns of names that an upstream index may have of its own."""


def start_upstream_check(index: Index) -> None:
    """Log a warning for each upstream index that is not proven to be one; wait for nothing."""
    upstream, settings = index.upstream, index.settings
    asks = settings.upstream.check_upload and not settings.upstream.offline
    if upstream is None or not asks or settings.server.read_only:
        return  # no upload depends on it
    configure_logging(settings.log)

    def check() -> None:
        with suppress(Unavailable):  # an upload, which asks again, says so
            for sentence in upstream.unproven():
                logger.warning("%s. Until then no new name can be uploaded", sentence)

    DaemonThreads(1, "upstream-check").submit(check)


def check_upstreams(settings: Settings, index: Index) -> None:
    """
    Print what is at the root of each upstream index; warn if nothing shows that it is one.

    `index` is that of the settings, and may be over an empty store.
    """
    upstream = index.upstream
    if upstream is None or settings.upstream.offline:
        return
    # without an upstream index, nothing of it is loaded
    from wheelyard.upstream.faults import not_proven

    until = "Until then no new name can be uploaded" if settings.upstream.check_upload else ""
    for client in upstream.clients.in_order:
        server, why = client.server, upstream.pages.proof.ask(client)
        if not why:
            click.echo(f"upstream {server.label}: its root is a list of projects")
        elif _has_pages_of(server.id, settings):
            seen = "but pages of its projects were seen"
            click.echo(f"upstream {server.label}: {escaped(why)}; {seen}")
        else:
            warn(f"{not_proven(server, why)}. {until}".removesuffix(". "))
    upstream.close()


def describe_upstreams(settings: Settings) -> Iterator[str]:
    """Yield the lines about the upstream indexes and which names are looked up there."""
    upstream = settings.upstream
    for number, index in enumerate(upstream.indexes):
        hosts = f"; files also from {', '.join(index.file_hosts)}" if index.file_hosts else ""
        login = f"; asked as {index.username}" if index.username else ""
        google = "; asked with this machine's Google credentials" if index.google else ""
        table = upstream.index[number] if upstream.index else {}
        names = "".join(
            f"; {key}: {', '.join(table[key]) or 'none'}" for key in NAME_KEYS if key in table
        )
        yield f"upstream {index.label}: {index.url}{hosts}{login}{google}{names}"
    patterns = ", ".join(parse_name_patterns(private_name_patterns(settings)).texts)
    own = "every name that is or was published here"
    yield f"private names: {patterns + ', and ' if patterns else ''}{own}"
    listed = ", ".join(upstream.allow) or "none"
    names = f"those of allow: {listed}" if upstream.mode == "allowlist" else "all others"
    denied = f", but {', '.join(upstream.deny)}" if upstream.deny else ""
    offline = "; offline, so only what is in the store" if upstream.offline else ""
    yield f"public names: {names}{denied}{offline}"


def _has_pages_of(upstream_id: str, settings: Settings) -> bool:
    """Return whether the store has pages of an upstream index; False if it cannot be said."""
    with suppress(WheelyardError):
        upstream = open_index(settings, create=False).upstream if has_store(settings) else None
        return upstream is not None and upstream.pages.proof.is_stored(upstream_id)
    return False
