"""Which stores the settings open: a place that lacks something is refused, and nothing is made."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.json import encode

from tests.settings.written import settings_of
from wheelyard.catalog import keys
from wheelyard.catalog.format import FORMAT, StoreFormat
from wheelyard.errors import Invalid, Unavailable
from wheelyard.storage.base import ABSENT, Key
from wheelyard.storage.memory import MemoryStore
from wheelyard.wiring.stores import (
    StoreTraits,
    makes_store_at_start,
    open_stores,
    require_credentials_place,
    scratch_spool,
    system_runtime,
)


def made_store(folder: Path) -> Path:
    """Return a folder with an empty store."""
    folder.mkdir()
    (folder / keys.FORMAT).write_bytes(encode(StoreFormat(format=FORMAT)))
    return folder


@pytest.mark.parametrize(
    ("name", "server", "makes_store"),
    [
        ("made", "", False),
        ("missing", "", True),
        ("missing", "[server]\nread_only = true\n", False),
    ],
    ids=["a store", "none yet", "none to read"],
)
def test_a_start_makes_a_missing_store_unless_the_server_only_reads(
    tmp_path: Path, name: str, server: str, *, makes_store: bool
) -> None:
    """A server makes its store at its first start, but not one that writes nothing."""
    made_store(tmp_path / "made")
    text = f'[store]\nlocation = "{tmp_path / name}"\n{server}'

    assert makes_store_at_start(settings_of(text, tmp_path)) is makes_store


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "There is no store at {folder}/missing. Name the place of one."),
        ("made", "access.credentials_store: there is no folder {folder}/tokens. Make it"),
    ],
    ids=["store", "folder of tokens"],
)
def test_a_missing_folder_is_named_and_not_made(tmp_path: Path, name: str, message: str) -> None:
    """A command that reads names the folder that is missing, and makes none."""
    made_store(tmp_path / "made")
    settings = settings_of(
        f'[store]\nlocation = "{tmp_path / name}"\n'
        f'[access]\ncredentials_store = "{tmp_path / "tokens"}"\n',
        tmp_path,
    )

    with pytest.raises(Invalid) as caught:
        open_stores(settings, system_runtime(), create=False)

    assert caught.value.message.startswith(message.format(folder=tmp_path))
    assert not (tmp_path / "tokens").exists()
    assert not (tmp_path / "missing").exists()


def test_a_store_in_memory_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in memory is no folder of that name, and is empty each time that it is opened."""
    monkeypatch.chdir(tmp_path)
    settings = settings_of('[store]\nlocation = "memory:"\n', tmp_path)
    before = sorted(tmp_path.iterdir())

    for _ in range(2):
        opened = open_stores(settings, system_runtime(), create=True)
        assert list(opened.stores.documents.list("")) == []
        opened.stores.documents.put(Key("a.json"), b"{}", ABSENT)

    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("noted", "configured", "place"),
    [("/kept/apart", "", "/kept/apart"), ("", "/kept/apart", "the store itself")],
    ids=["the servers keep them apart", "the command keeps them apart"],
)
def test_grants_are_written_where_the_servers_read_them(
    noted: str, configured: str, place: str
) -> None:
    """A command whose settings lead to another place for grants is refused, with the right one."""
    store = MemoryStore(lambda: 0.0)
    store.put(keys.FORMAT, encode(StoreFormat(format=FORMAT, credentials=noted)), ABSENT)

    with pytest.raises(Invalid, match=f"keep grants and publishers in {place}, .* by --config"):
        require_credentials_place(store, StoreTraits(credentials_location=configured))

    require_credentials_place(store, StoreTraits(credentials_location=noted))


def _open_to_others(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def _link_to_another(folder: Path) -> None:
    other = folder.parent / "other"
    other.mkdir(mode=0o700)
    folder.symlink_to(other)


@pytest.mark.parametrize(
    "prepare", [_open_to_others, _link_to_another], ids=["open to others", "a link"]
)
def test_uploads_are_not_spooled_where_others_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Path], None]
) -> None:
    """A folder for uploads that another user may have prepared is refused, and named."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    own = tmp_path / "tmp" / f"wheelyard-{os.getuid()}"
    prepare(own)

    with pytest.raises(Unavailable, match=f"{own}.*: other users have access to it"):
        scratch_spool()
