"""Public files that have left their page, and that the operator keeps."""

from pathlib import Path
from typing import Final

import pytest

from tests.fake_time import Clock
from tests.http.in_process import in_process
from tests.index_tables import toml_of
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import link_of, look, page_of
from tests.upstream.settings import close, front, upstream_section
from wheelyard.catalog import keys
from wheelyard.model.distribution_filename import parse_name
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Key
from wheelyard.storage.memory import MemoryStore

WHEEL: Final = public_wheel("requests", "2.0")
NAME: Final = parse_name("requests")


@pytest.mark.parametrize(("days", "status"), [(3650, 404), (7, 200)])
def test_rules_of_an_index_hide_removed_files(
    tmp_path: Path, upstream: FakeUpstream, days: int, status: int
) -> None:
    """A file that has left its page is hidden in an index whose rules would hide it on the page."""
    upstream.publish(WHEEL)
    store = MemoryStore(Clock().seconds)
    section = upstream_section(upstream, keep_removed=True, page_ttl=0)
    stable = {"name": "stable", "layers": ["stable", "upstream"], "read": "anyone"}
    tables = toml_of(index=({**stable, "cooldown_days": days},))
    with in_process(tmp_path, Settings(upstream=section), store=store, tables=tables) as server:
        url = link_of(server, "requests", WHEEL.filename)
        assert server.index.upstream is not None
        folder = keys.upstream(server.index.upstream.config.servers[0].id)
        file_key = keys.distribution(NAME, WHEEL.sha256, WHEEL.filename)
        store.put(Key(f"{folder}{file_key}"), WHEEL.body, None)
        upstream.withdraw(WHEEL.filename)
        upstream.publish(public_wheel("requests", "3.0"))
        server.clock.advance(seconds=1)
        assert WHEEL.filename not in page_of(server, "requests").files

        seen = [look(server, f"{prefix}{url}").status for prefix in ("", "/stable")]
        close(server.index)

    assert seen == [200, status]


def test_removed_file_is_explained_behind_those_of_its_page(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    """What clients get is told of the files of a page first, and then of those that have left."""
    upstream.publish(WHEEL)
    newer = public_wheel("requests", "3.0")
    with front(tmp_path, upstream, page_ttl=0) as server:
        page_of(server, "requests")
        upstream.withdraw(WHEEL.filename)
        upstream.publish(newer)
        server.clock.advance(seconds=1)
        assert server.index.upstream is not None

        explained = server.index.upstream.explain(NAME, None, may_read=True)

    shown = [(each.filename, each.shown) for each in explained.files]
    assert shown == [(newer.filename, True), (WHEEL.filename, False)]


def test_removed_file_that_nobody_kept_is_not_found(tmp_path: Path, upstream: FakeUpstream) -> None:
    """A file that has left its page is not found if it was never fetched, or never listed."""
    upstream.publish(WHEEL)
    with front(tmp_path, upstream, keep_removed=True, page_ttl=0) as server:
        url = link_of(server, "requests", WHEEL.filename)
        upstream.withdraw(WHEEL.filename)
        upstream.publish(public_wheel("requests", "3.0"))
        server.clock.advance(seconds=1)
        assert WHEEL.filename not in page_of(server, "requests").files

        seen = [look(server, path) for path in (url, url.replace("2.0", "1.0"))]

    assert [answer.status for answer in seen] == [404, 404]
    assert all(b"There is no file of this name here." in answer.body for answer in seen)
