"""Exceptions from the cooldown of an index, and files that come after their first use."""

from dataclasses import replace
from pathlib import Path

from tests.http.in_process import in_process
from tests.index_tables import toml_of
from tests.upstream.canned_index import URL, CannedIndex
from tests.upstream.fake_pages import JSON
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import look
from tests.upstream.settings import close
from wheelyard.settings.sections import Settings
from wheelyard.settings.upstream_section import UpstreamSettings


def test_an_exception_is_about_files_that_were_there(
    tmp_path: Path, canned_index: CannedIndex
) -> None:
    """An exception for a version lets through what was there when an index first used it."""
    first = public_wheel("requests", "2.0")
    later = replace(first, filename=first.filename.replace("py3", "py2.py3"))
    canned_index.publish(first, "2025-12-31T00:00:00Z")
    section = UpstreamSettings(enabled=True, url=URL, file_hosts=(), page_ttl=0)
    stable = {"name": "stable", "layers": ["stable", "upstream"], "read": "anyone"}
    keys = {"cooldown_days": 7, "cooldown_allow": ["requests==2.0"]}
    tables = toml_of(index=({**stable, **keys},))
    with in_process(tmp_path, Settings(upstream=section), tables=tables) as server:
        before = [*look(server, "/stable/simple/requests/", accept=JSON).files]
        server.clock.advance(days=1)
        canned_index.publish(later, "2026-01-02T00:00:00Z")
        server.clock.advance(seconds=5)
        after = [*look(server, "/stable/simple/requests/", accept=JSON).files]
        in_main = [*look(server, "/simple/requests/", accept=JSON).files]
        close(server.index)

    assert before == after == [first.filename]
    assert sorted(in_main) == sorted([first.filename, later.filename])
