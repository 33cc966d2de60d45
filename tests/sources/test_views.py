"""Which places can be watched."""

from pathlib import Path

import pytest

from tests.sources.offering import Pauses
from wheelyard.errors import Invalid
from wheelyard.sources.buckets import open_view


@pytest.mark.parametrize(
    ("place", "store", "words"),
    [
        ("nowhere", "kept", "The folder 'nowhere' cannot be read"),
        ("http://127.0.0.1/simple/", "kept", "is a URL"),
        ("kept", "kept", "Watch a place beside it"),
        ("kept/files/x", "kept", "Watch a place beside it"),
        ("gs://wheels", "gs://wheels/store", "Watch a place beside it"),
        ("gs://wheels/store", "gs://wheels/store/", "Watch a place beside it"),
        ("gs://wheels/files/demo", "gs://wheels", "Watch a place beside it"),
    ],
)
def test_what_cannot_be_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, store: str, words: str
) -> None:
    """A place that is none, or in which the store itself would be seen, is refused."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Invalid) as raised:
        open_view(place, (store,), "files/", Pauses().ambient())

    assert words in raised.value.message


def test_a_store_in_the_place(tmp_path: Path) -> None:
    """A store in a folder of the place is passed by."""
    for name in ("kept/files", "new"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a-1.zip").touch()

    place = open_view(str(tmp_path), (str(tmp_path / "kept"),), "files/", Pauses().ambient())

    assert [getattr(each, "path", "") for each in place.items()] == ["new/a-1.zip"]
