"""Public sdists whose version has a hyphen: pages, files, and what is kept and locked of them."""

from pathlib import Path

import pytest

from tests.operations.old_sdists import REAL, old_sdist
from tests.upstream.fake_pages import FakeFile
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.reading import file_of, look, page_of
from tests.upstream.settings import front
from wheelyard.upstream.kept_files import KeptFile
from wheelyard.upstream.lock_files import Place, locked_package

SHA = "0123456789abcdef" * 4


@pytest.mark.integration
def test_page_file_and_facts(upstream: FakeUpstream, tmp_path: Path) -> None:
    """The page of such a project, its file and its facts have the version that clients read."""
    made = old_sdist("leo", "6.7.8-9")
    upstream.publish(FakeFile(filename=made.filename, body=made.body, project="leo"))
    with front(tmp_path, upstream) as server:
        page = page_of(server, "leo").page
        assert page["versions"] == ["6.7.8.post9"]
        assert [file["filename"] for file in page["files"]] == [made.filename]
        assert file_of(server, "leo", made.filename).body == made.body
        for path in ("/pypi/leo/json", "/project/leo/", "/project/leo/6.7.8.post9/"):
            answer = look(server, path)
            assert (answer.status, b"6.7.8.post9" in answer.body) == (200, True), path
        assert page_of(server, "leo-6-7-8").status == 404


@pytest.mark.parametrize("filename", REAL)
def test_what_is_kept_and_locked(filename: str) -> None:
    """A kept file, and one of a lock file that states no version, have the project's reading."""
    project, version = REAL[filename]
    kept = KeptFile(upstream="public-12345678", path=f"{project}/{SHA}/{filename}")
    locked = locked_package(Place("pylock.toml", 1), project, "", [(f"sha256:{SHA}", filename)])

    assert kept.version == version
    assert [file.version for file in locked.files] == [version]
