"""Public sdists whose version has a hyphen: pages, files, and what is locked of them."""

from pathlib import Path

import pytest

from tests.operations.old_sdists import REAL, old_sdist
from tests.refused import refused
from tests.upstream.fake_pages import FakeFile
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.reading import file_of, look, page_of
from tests.upstream.settings import front
from wheelyard.errors import Invalid
from wheelyard.upstream.lock_files import BAD_LOCK_FILE, LockedFile, read_lock_files

SHA = "0123456789abcdef" * 4


def test_page_file_and_facts(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A public sdist whose version has a hyphen has the version that clients read, on all pages."""
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


def test_a_url_without_a_project_asks_nobody_about_a_private_file(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A private file is served while the upstream index is down, which learns none of its names."""
    made = old_sdist("acme-core", "1.0-1")
    with front(tmp_path, upstream, private=["acme-core"]) as server:
        server.publish(made)
        upstream.behave("acme-core-1-0", 503)

        answer = look(server, f"/packages/{made.filename}")

        assert (answer.status, answer.body) == (200, made.body)
        assert upstream.asked("acme-core-1-0") == []


@pytest.mark.parametrize("has_version", [False, True], ids=["no version", "version"])
@pytest.mark.parametrize("is_named", [False, True], ids=["url", "name"])
@pytest.mark.parametrize("filename", [*REAL, "leo-4.3-1.zip", "leo-4.3.tar.bz2"])
def test_a_lock_file_with_an_old_sdist_is_read(
    tmp_path: Path, filename: str, *, is_named: bool, has_version: bool
) -> None:
    """One sdist that an old tool has named does not make the whole pylock.toml unusable."""
    old = {"leo-4.3-1.zip": ("leo", "4.3.post1"), "leo-4.3.tar.bz2": ("leo", "4.3")}
    project, version = (REAL | old)[filename]
    said = f"name = '{filename}', " if is_named else ""
    path = tmp_path / "pylock.toml"
    path.write_text(
        f"""lock-version = '1.0'
created-by = 'a test'
[[packages]]
name = '{project}'
{f"version = '{version}'" if has_version else ""}
sdist = {{ {said}url = 'https://files.example.com/{filename}', hashes = {{ sha256 = '{SHA}' }} }}
"""
    )

    (files,) = read_lock_files([path]).projects.values()

    assert files == (LockedFile(project, version, SHA),)  # type: ignore[arg-type]


@pytest.mark.parametrize("sdist", ["5", "{ name = 5, url = 5 }", "{ url = 'http://[::1/x.zip' }"])
def test_a_malformed_sdist_of_a_lock_file_is_said(tmp_path: Path, sdist: str) -> None:
    """A lock file with an sdist that is malformed is refused."""
    path = tmp_path / "pylock.toml"
    path.write_text(
        f"lock-version = '1.0'\ncreated-by = 'a test'\n[[packages]]\nname = 'a'\nsdist = {sdist}\n"
    )
    with refused(Invalid, BAD_LOCK_FILE):
        read_lock_files([path])
