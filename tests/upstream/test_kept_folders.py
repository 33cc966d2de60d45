"""What is kept of an upstream index is found whatever its label is now."""

from pathlib import Path

from tests.fake_time import Clock
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import link_of, look, page_of
from tests.upstream.settings import front
from tests.waiting import until
from wheelyard.catalog import keys
from wheelyard.storage.base import ABSENT, Key
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.kept_folders import KeptFolders

PYPI, TORCH, RENAMED = "pypi-0123abcd", "torch-89abcdef", "public-0123abcd"


def memory() -> MemoryStore:
    """Return an empty store in memory."""
    return MemoryStore(lambda: 0.0)


def page(upstream_id: str) -> Key:
    """Return the key of what is kept of an upstream index."""
    return Key(f"{keys.upstream(upstream_id)}pages/requests.json.gz")


def test_a_folder_is_found_under_another_label() -> None:
    """What is kept of a URL under another label is read, listed and written in its folder."""
    inner = memory()
    inner.put(page(PYPI), b"before", ABSENT)
    store = KeptFolders(inner, [RENAMED, TORCH])

    store.put(page(TORCH), b"torch", ABSENT)
    store.put(page(RENAMED), b"after", None)

    assert [entry.key for entry in store.list(keys.upstream(RENAMED))] == [page(RENAMED)]
    assert b"".join(inner.read(page(PYPI))) == b"after"
    assert [entry.key for entry in inner.list("")] == [page(PYPI), page(TORCH)]
    assert list(store.list(keys.upstream(RENAMED), page(RENAMED))) == []


def test_the_folder_of_another_index_is_left_alone() -> None:
    """A folder with the own label comes first, and that of another index is nobody else's."""
    inner = memory()
    for upstream_id in (PYPI, RENAMED):
        inner.put(page(upstream_id), upstream_id.encode(), ABSENT)

    both = KeptFolders(inner, [RENAMED, PYPI])
    new = KeptFolders(inner, ["new-0123abcd", PYPI, RENAMED])
    alone = KeptFolders(inner, [RENAMED])

    assert b"".join(both.read(page(RENAMED))) == RENAMED.encode()
    assert b"".join(both.read(page(PYPI))) == PYPI.encode()
    assert b"".join(alone.read(page(RENAMED))) == RENAMED.encode()
    assert list(new.list(keys.upstream("new-0123abcd"))) == []


def test_what_no_set_index_has_stays_where_it_is() -> None:
    """What belongs to no index, or to one that is not set now, is under its own key."""
    inner = memory()
    store = KeptFolders(inner, [RENAMED])
    shared = [Key("access/grants.json"), Key(f"{keys.UPSTREAM}decisions.json"), page(TORCH)]

    for key in shared:
        store.put(key, b"shared", ABSENT)

    assert [entry.key for entry in inner.list("")] == shared
    assert [entry.key for entry in store.list("")] == shared


def test_another_label_loses_nothing(upstream: FakeUpstream, tmp_path: Path) -> None:
    """After a new label, pages and files come from the store, and a new digest is noticed."""
    package = public_wheel("requests", "2.0")
    upstream.publish(package)
    store = MemoryStore(Clock().seconds)
    with front(tmp_path, upstream, store=store, label="pypi") as server:
        link = link_of(server, "requests", package.filename)
        assert look(server, link).body == package.body
        until(lambda: any("/files/" in entry.key for entry in store.list("upstream/")))
    asked = len(upstream.requests)

    with front(tmp_path, upstream, store=store, label="public") as server:
        assert list(page_of(server, "requests").files) == [package.filename]
        assert look(server, link).body == package.body
        assert len(upstream.requests) == asked
        upstream.publish(public_wheel("requests", "2.0", "Summary: of a stranger"))
        server.clock.advance(seconds=601)
        assert list(page_of(server, "requests").files) == []
    assert not any(entry.key.startswith("upstream/public") for entry in store.list("upstream/"))
