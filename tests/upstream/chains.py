"""A server with two upstream indexes, and with indexes that have them as layers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import OPEN_MAIN
from tests.upstream.fake_pages import JSON
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.reading import ReadResponse, look
from tests.upstream.settings import close, upstream_section
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Store

FIRST, SECOND = "first", "second"
"""The labels of the upstream indexes, in the order of `upstream`."""
ONE: Final = {"name": "one", "layers": ["one", SECOND], "read": "anyone"}
BACK: Final = {"name": "back", "layers": ["back", SECOND, FIRST], "read": "anyone"}
OVER: Final = {"name": "over", "layers": ["over", "one", "upstream"], "read": "anyone"}
"""Indexes with one upstream index, with both in another order, and with one before all."""


@contextmanager
def chained(
    folder: Path,
    first: FakeUpstream,
    second: FakeUpstream,
    *indexes: dict[str, Any],
    store: Store | None = None,
    tables: tuple[dict[str, Any], ...] = ({}, {}),
    further: tuple[dict[str, Any], ...] = (),
    **more: Any,  # noqa: ANN401 - of `[upstream]`
) -> Iterator[InProcessServer]:
    """
    Yield a server with these indexes.

    `tables` have more settings of each upstream index, and `further` are more of these.
    """
    labelled = zip((FIRST, SECOND), (first, second), tables, strict=True)
    own: dict[str, Any] = {"url": "", "label": "", "file_hosts": ()}
    section = upstream_section(
        first,
        index=tuple(
            {"label": label, "url": each.url, "file_hosts": [each.file_host], **table}
            for label, each, table in labelled
        )
        + further,
        **own,
        **more,
    )
    settings, put = Settings(upstream=section), toml_of(main=OPEN_MAIN, index=indexes)
    with in_process(folder, settings, store=store, tables=put) as server:
        try:
            yield server
        finally:
            close(server.index)


def page(server: InProcessServer, index: str, name: str, **headers: str) -> ReadResponse:
    """Ask an index for the page of a project, as an installer does; main has no name."""
    prefix = f"/{index}" if index else ""
    return look(server, f"{prefix}/simple/{name}/", **{"accept": JSON, **headers})


def versions(server: InProcessServer, index: str, name: str) -> list[str]:
    """Return the versions that an index has of a project, or the status if it has no page."""
    seen = page(server, index, name)
    if seen.status != 200:
        return [str(seen.status)]
    return sorted({filename.split("-")[1] for filename in seen.files})
