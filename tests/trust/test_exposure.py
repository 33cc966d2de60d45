"""Of which files and folders an operator hears that every user of the machine may change them."""

import os
from pathlib import Path
from typing import TypeVar

import pytest

from tests.operations.world import Clock
from wheelyard.trust.static_tokens import parse_static_tokens
from wheelyard.trust.watched import WatchedFile, ways_to_change

T = TypeVar("T")

FILE = "every user of this machine may write to it; take that away with 'chmod o-w'"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file in two folders, none of which others may write to."""
    file = tmp_path / "etc" / "wheelyard" / "credentials"
    file.parent.mkdir(parents=True)
    file.write_text("")
    file.chmod(0o640)
    return file


def _folder(folder: Path) -> str:
    return (
        "every user of this machine may replace it, because they may write to the folder "
        f"{folder}; take that away with 'chmod o-w'"
    )


@pytest.mark.parametrize(
    ("mode", "ways"),
    [
        *((mode, []) for mode in (0o400, 0o600, 0o640, 0o644, 0o660, 0o664, 0o770, 0o444)),
        *((mode, [FILE]) for mode in (0o602, 0o606, 0o646, 0o666, 0o777)),
    ],
)
def test_a_file(path: Path, mode: int, ways: list[str]) -> None:
    """A file that others may write to is told of, and one that its group may write to is not."""
    path.chmod(mode)

    assert list(ways_to_change(path)) == ways


@pytest.mark.parametrize("above", [0, 1])
@pytest.mark.parametrize(
    ("mode", "is_told"),
    [
        *((mode, False) for mode in (0o700, 0o755, 0o775, 0o2775, 0o1777, 0o3777)),
        *((mode, True) for mode in (0o703, 0o777)),
    ],
)
def test_a_folder(path: Path, above: int, mode: int, *, is_told: bool) -> None:
    """Whoever may write to a folder above a file may replace it, but for a sticky bit."""
    folder = path.parents[above]
    folder.chmod(mode)

    assert list(ways_to_change(path)) == ([_folder(folder)] if is_told else [])


def test_folders_on_the_way_of_links(path: Path, tmp_path: Path) -> None:
    """A folder with a link on the way counts, and so does the folder that a link leads to."""
    links, hop, real = tmp_path / "links", tmp_path / "hop", path.parent
    for folder in (links, hop):
        folder.mkdir()
    (hop / "users").symlink_to(path)
    (links / "users").symlink_to(Path("..", "hop", "users"))

    assert list(ways_to_change(links / "users")) == []
    for folder in (links, hop, real):
        folder.chmod(0o777)
        assert list(ways_to_change(links / "users")) == [_folder(folder)]
        folder.chmod(0o755)


def test_a_secret_of_kubernetes(tmp_path: Path) -> None:
    """A secret that Kubernetes has mounted is not told of: its folder has a sticky bit."""
    mounted = tmp_path / "mounted"
    (mounted / "..2026_11_21").mkdir(parents=True)
    (mounted / "..2026_11_21" / "users").write_text("")
    (mounted / "..2026_11_21" / "users").chmod(0o644)
    (mounted / "..data").symlink_to("..2026_11_21")
    (mounted / "users").symlink_to(Path("..data", "users"))
    mounted.chmod(0o1777)

    assert list(ways_to_change(mounted / "users")) == []


def test_what_is_not_there(path: Path, tmp_path: Path) -> None:
    """A file that is not there, or links in a circle, are no failure; the folders count."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "lost").symlink_to("nowhere")
    for name in ("a", "lost", "none", "a/none", "lost/none", "etc/wheelyard/credentials/x"):
        assert list(ways_to_change(tmp_path / name)) == []
    path.parent.chmod(0o777)
    assert list(ways_to_change(path.parent / "none")) == [_folder(path.parent)]


def test_a_relative_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that begins in the working folder is looked at up to the root."""
    monkeypatch.chdir(path.parent)
    path.parents[1].chmod(0o777)

    assert list(ways_to_change(Path(path.name))) == [_folder(path.parents[1])]


def test_a_folder_that_is_opened_later(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A running server says once that others may change its file, and again after that was over."""
    clock = Clock()
    watched = WatchedFile(path, parse_static_tokens, clock.seconds)
    assert list(watched.warnings) == []
    said = (f"{path}: {_folder(path.parent)}.", f"{path}: {FILE}.")

    path.parent.chmod(0o777)
    _look(watched, clock)
    path.chmod(0o642)
    _look(watched, clock)
    assert list(watched.warnings) == [*said[::-1]]
    path.chmod(0o640)
    path.parent.chmod(0o755)
    _look(watched, clock)
    assert list(watched.warnings) == []
    assert [each.getMessage() for each in caplog.records] == list(said)

    path.parent.chmod(0o777)
    _look(watched, clock)
    assert [each.getMessage() for each in caplog.records] == [*said, said[0]]


def test_a_file_that_is_away(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While a file is away nothing is said but that, whatever becomes of its folder."""
    clock = Clock()
    watched = WatchedFile(path, parse_static_tokens, clock.seconds)
    os.rename(path, path.with_name("away"))  # noqa: PTH104 - as a person does it
    path.parent.chmod(0o777)
    _look(watched, clock)

    assert ["cannot be read" in each.getMessage() for each in caplog.records] == [True]


def _look(watched: WatchedFile[T], clock: Clock) -> None:
    for _ in range(3):
        clock.advance(seconds=5)
        watched.current()
