"""A check of a folder in which somebody has put other things than files."""

from pathlib import Path

from tests.operations.making import make_wheel
from tests.operations.world import ALICE
from wheelyard.index import Index, open_index
from wheelyard.operations.check import CheckOptions
from wheelyard.operations.check_project import Findings
from wheelyard.settings.sections import Settings, StoreSettings

PROJECTS = ("first", "second", "third")


def index_at(folder: Path) -> Index:
    """Return an index that has some projects."""
    index = open_index(Settings(store=StoreSettings(location=str(folder))))
    for name in PROJECTS:
        path = make_wheel(name).write(folder.parent)
        index.uploads.accept_path(path, ALICE, lambda _: None)
    return index


def check(index: Index) -> Findings:
    """Check everything."""
    return index.check.run(CheckOptions(rebuild=True, sweep=True), lambda _, __: None)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """One object that cannot be read is a problem by itself; the rest is checked all the same."""
    folder = tmp_path / "store"
    index = index_at(folder)
    document = folder / "projects" / "first.json"
    document.unlink()
    document.mkdir()
    (folder / "journal" / "second" / "0000000009.json").symlink_to("/etc/passwd")
    (folder / "projects" / "evil.json").symlink_to("/etc/passwd")
    (folder / "credentials" / "tokens").mkdir(parents=True)
    (folder / "credentials" / "tokens" / "0123456789.json").symlink_to("/etc/passwd")
    (third,) = folder.glob("files/third/*/*.whl")
    third.write_bytes(b"changed")

    findings = check(index)

    for what in ("projects/first.json", "0000000009", "evil", "0123456789", third.name):
        assert any(what in problem for problem in findings.problems), what
    assert findings.files == 2  # of the second and the third project
    assert index.tokens.all() == []
