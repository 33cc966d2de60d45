"""The settings of servers before the fake upstream, and such a server in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fake_time import Clock, fake_runtime
from tests.http.in_process import InProcessServer, in_process
from tests.http.servers import RunningServer, running_app
from tests.upstream.fake_upstream import FakeUpstream
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.storage.base import Store, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

LABEL = "public"


def upstream_section(upstream: FakeUpstream, **more: Any) -> UpstreamSettings:  # noqa: ANN401
    """Return `[upstream]` for the fake upstream, with other values of some settings."""
    values: dict[str, Any] = {
        "enabled": True,
        "url": upstream.url,
        "label": LABEL,
        "private": ("team-*",),
        "file_hosts": (upstream.file_host,),
        "allow_private_networks": ("127.0.0.0/8",),
    }
    return UpstreamSettings(**(values | more))


def upstream_settings(upstream: FakeUpstream, *lines: str) -> str:
    """Return the same as `wheelyard.toml`; `lines` are further ones of `[upstream]`."""
    return "\n".join(
        (
            "[upstream]",
            "enabled = true",
            f'url = "{upstream.url}"',
            f'label = "{LABEL}"',
            'private = ["team-*"]',
            f'file_hosts = ["{upstream.file_host}"]',
            'allow_private_networks = ["127.0.0.0/8"]',
            *lines,
            "",
        )
    )


@contextmanager
def front(
    folder: Path,
    upstream: FakeUpstream,
    *,
    store: Store | None = None,
    access: AccessSettings | None = None,
    **more: Any,  # noqa: ANN401
) -> Iterator[InProcessServer]:
    """Yield an application before the fake upstream, over a store in memory or another one."""
    section = upstream_section(upstream, **more)
    settings = Settings(upstream=section, access=access or AccessSettings())
    with in_process(folder, settings, store=store) as server:
        try:
            yield server
        finally:
            close(server.index)


@contextmanager
def serving(
    folder: Path,
    upstream: FakeUpstream,
    clock: Clock | None = None,
    **more: Any,  # noqa: ANN401
) -> Iterator[RunningServer]:
    """Run the same on a port of this process; the clock stands still until a test moves it."""
    settings, clock = Settings(upstream=upstream_section(upstream, **more)), clock or Clock()
    store, runtime = MemoryStore(clock.seconds), fake_runtime(clock, 1)
    index = build_index(
        Stores.of(store), Spool(folder), settings, runtime, StoreTraits(is_local=True)
    )
    try:
        with running_app(index, folder) as server:
            yield server
    finally:
        close(index)


def close(index: Index) -> None:
    """End what the upstream indexes of an index have open."""
    if index.upstream is not None:
        index.upstream.close()
