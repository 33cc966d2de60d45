"""`nox -s release`: what it refuses, what it builds, and what it leaves behind."""

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, system_program
from tests.release.environment import release_python
from tools.audit import packages_of
from tools.distributions import build_twice, check_contents, distributions
from tools.programs import Refused
from tools.release import PROJECT_FILES, main, project_version

pytestmark = pytest.mark.integration

CHANGELOG = "# Changelog\n\n## [Unreleased]\n"


def git(folder: Path, *words: str) -> str:
    """Run git as somebody with a name; return what it prints."""
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


def commit(folder: Path, **files: str) -> None:
    """Write files, and commit everything."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "A change")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with nothing but what decides whether there may be a release."""
    for name in PROJECT_FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('[project]\nversion = "0.1.0"\n')
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "Ada")
    git(tmp_path, "config", "user.email", "ada@example.com")
    commit(tmp_path, CHANGELOG__md=CHANGELOG)
    return tmp_path


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of its own with the files of this one, as they are now."""
    folder = tmp_path_factory.mktemp("release") / "clone"
    listed = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in git(REPOSITORY, *listed).split("\0"):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    git(folder, "init", "--quiet")
    commit(folder)
    return folder


def refusal(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that says why there is no release, and assert that nothing is left."""
    before = git(root, "log", "--all", "--format=%H")

    assert main([*arguments], root) == 1

    assert git(root, "log", "--all", "--format=%H") == before
    assert not (root / "dist").exists()
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("release: ")


def test_what_is_not_committed_is_not_released(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed file, or a new one that git does not ignore, stops a release."""
    (repository / "CHANGELOG.md").write_text("changed")
    (repository / "new.txt").touch()

    line = refusal(repository, capsys, "--dry-run")

    assert line == "not committed: CHANGELOG.md and 1 more; commit or remove that first"


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("next", "next is no version to release"),
        ("v0.2.0", "v0.2.0 is no version to release"),
        ("0.2", "0.2 is no version to release"),
        ("0.02.0", "0.02.0 is no version to release"),
        ("0.2.0.dev1", "0.2.0.dev1 is no version to release"),
        ("0.2.0+local", "0.2.0+local is no version to release"),
        ("0.1.0", "v0.1.0 is tagged already"),
        ("0.1.0rc1", "0.1.0rc1 is older than v0.1.0"),
        ("0.0.9", "0.0.9 is older than v0.1.0"),
    ],
)
def test_versions_that_cannot_follow(
    repository: Path, capsys: pytest.CaptureFixture[str], version: str, words: str
) -> None:
    """A version that is malformed, tagged, or older than a tagged one is refused."""
    git(repository, "tag", "v0.1.0")
    git(repository, "tag", "very-old")

    assert refusal(repository, capsys, version).startswith(words)


def test_the_changelog_says_what_is_new(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a section for the version there is no release, nor with one and new lines above."""
    missing = refusal(repository, capsys)
    text = f"{CHANGELOG}\n### Added\n\n- More.\n\n## [0.2.0] - 2027-01-02\n\n- Some.\n"
    commit(repository, CHANGELOG__md=text)
    both = refusal(repository, capsys, "0.2.0")

    assert missing == "CHANGELOG.md has no section for 0.1.0, and Unreleased is empty"
    assert both == "CHANGELOG.md has a section for 0.2.0; Unreleased has to be empty"


def test_somebody_has_to_make_the_commit(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a name for the commit there is no release."""
    commit(repository, CHANGELOG__md=f"{CHANGELOG}\n- More.\n")
    git(repository, "config", "user.email", "")

    line = "git does not know who commits: set user.name and user.email"
    assert refusal(repository, capsys, "0.2.0") == line


def test_a_version_without_its_line(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A project file whose version stands in no line of its own is named."""
    commit(repository, pyproject__toml='project = { version = "0.1.0" }\n')

    assert refusal(repository, capsys, "0.2.0") == "pyproject.toml has no line `version = ...`"


def test_tags_that_are_no_release(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tag is not built again if it is missing, has no message, or is on another version."""
    git(repository, "tag", "v0.1.0")
    git(repository, "tag", "--annotate", "--message=Other", "v0.2.0")
    git(repository, "tag", "--annotate", "--message=First", "v0.1.1", "HEAD")

    for name in ("v9.9.9", "v0.1.0"):
        line = f"there is no annotated tag {name} here; get it: git fetch origin tag {name}"
        assert refusal(repository, capsys, "--tag", name) == line
    other = "v0.2.0 is the tag of a commit whose version is 0.1.0"
    assert refusal(repository, capsys, "--tag", "v0.2.0") == other


def test_both_packages_have_one_version() -> None:
    """The keyring package has the version of the server."""
    assert len({project_version(REPOSITORY / name) for name in PROJECT_FILES}) == 1


@pytest.fixture(scope="module")
def built_folder(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what was built of the files as they are now."""
    folder = tmp_path_factory.mktemp("built")
    build_twice(clone, folder / "first", folder / "again")
    return folder / "first"


def test_builds_give_the_same_bytes(clone: Path, built_folder: Path) -> None:
    """Two builds of a commit give the same bytes; an sdist has all files, a wheel its package."""
    check_contents(clone, built_folder)

    names = [path.name.partition("-")[0] for path in distributions(built_folder)]
    assert names == ["wheelyard", "wheelyard", "wheelyard_keyring", "wheelyard_keyring"]


def test_a_file_too_many_is_noticed(clone: Path, built_folder: Path, tmp_path: Path) -> None:
    """A release has no wheel with more than a package, and no sdist with a file that git lacks."""
    shutil.copytree(built_folder, tmp_path, dirs_exist_ok=True)
    wheel, archive = distributions(tmp_path, "wheelyard")
    git(clone, "rm", "--quiet", "--cached", "docs/tls.md")
    try:
        with pytest.raises(
            Refused, match=f"^{archive.name} differs from what git has: docs/tls.md"
        ):
            check_contents(clone, tmp_path)
    finally:
        git(clone, "add", "docs/tls.md")
    with zipfile.ZipFile(wheel, "a") as opened:
        opened.writestr("tests/__init__.py", "")
    with pytest.raises(Refused, match=f"^{wheel.name} has more than its package: tests$"):
        check_contents(clone, tmp_path)


@pytest.mark.weekly
def test_a_build_that_differs_is_noticed(clone: Path, tmp_path: Path) -> None:
    """A build that gives other bytes in another folder stops a release."""
    project = clone / "pyproject.toml"
    before = project.read_text()
    project.write_text(
        before.replace("[tool.hatch.build]\n", "[tool.hatch.build]\nreproducible = false\n")
    )
    try:
        with pytest.raises(Refused, match="is not reproducible: a second build gave other bytes"):
            build_twice(clone, tmp_path / "first", tmp_path / "again")
    finally:
        project.write_text(before)


def test_secrets_of_a_developer_are_not_in_an_sdist(clone: Path, tmp_path: Path) -> None:
    """What a `.gitignore` of any folder names is in no sdist, whoever builds it where."""
    dirty = tmp_path / "dirty"
    shutil.copytree(clone, dirty)
    ignored = []
    for file in sorted(dirty.rglob(".gitignore")):
        for line in file.read_text().splitlines():
            if line and not line.startswith("#"):
                name = line.strip("/").replace("[cod]", "c").replace("*", "x")
                path = file.parent / name / "secret" if line.endswith("/") else file.parent / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("secret")
                ignored.append(path)
    hatchling = (sys.executable, "-m", "hatchling", "build", "--target", "sdist")
    subprocess.run([*hatchling, "--directory", tmp_path], cwd=dirty, check=True)

    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        inside = {name.partition("/")[2] for name in opened.getnames()} - {"PKG-INFO"}

    assert len(ignored) > 30
    assert inside == set(git(clone, "ls-files").splitlines())


def run(folder: Path, *arguments: str) -> str:
    """Run a release without an image, with the settings for packages of this machine."""
    programs = folder.with_name("programs")
    programs.mkdir(exist_ok=True)
    for name in ("git", "gzip", "tar"):
        (programs / name).unlink(missing_ok=True)
        (programs / name).symlink_to(system_program(name))
    python = [system_program("env"), f"PATH={programs}", str(release_python())]
    command = [*python, "-m", "tools.release", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def clone_of(root: Path, folder: Path) -> Path:
    """Return a clone whose owner has a name."""
    git(root, "clone", "--quiet", str(root), str(folder))
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.com")
    return folder


@pytest.fixture(scope="module")
def release(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a release."""
    root = clone_of(clone, tmp_path_factory.mktemp("root") / "root")
    run(root, "9.8.7")
    return root


@pytest.mark.downloads
def test_a_dry_run_changes_nothing(clone: Path, tmp_path: Path) -> None:
    """A dry run makes all files of a release, and no commit and no tag."""
    root = clone_of(clone, tmp_path / "root")

    printed = run(root, "9.8.7", "--dry-run")

    assert "this was a dry run: nothing is committed, nothing is tagged" in printed
    assert "the image was NOT built: that needs buildah, and root" in printed
    assert git(root, "rev-parse", "HEAD") == git(clone, "rev-parse", "HEAD")
    assert git(root, "status", "--porcelain") + git(root, "tag") == ""
    assert (root / "dist" / "v9.8.7" / "wheelyard-9.8.7.tar.gz").exists()


@pytest.mark.downloads
def test_a_release_is_a_commit_and_a_tag(release: Path) -> None:
    """A release is a commit and a tag whose message has the digests; its SBOM has every package."""
    root = release
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "log", "-1", "--format=%s, %an") == "Release 9.8.7, Ada"
    output = root / "dist" / "v9.8.7"
    message = git(root, "for-each-ref", "--format=%(contents)", "refs/tags/v9.8.7")
    sums = (output / "SHA256SUMS").read_text()
    assert message.splitlines()[2:] == [line for line in sums.splitlines() if "cdx" not in line]
    sbom = json.loads((output / "wheelyard-9.8.7.cdx.json").read_bytes())
    parts = {
        (part["name"].lower().replace("_", "-"), part["version"]) for part in sbom["components"]
    }
    assert parts == packages_of(root / "requirements" / "otel.txt")
    assert [part["name"] for part in sbom["components"] if not part["licenses"]] == []
    assert {project_version(root / name) for name in PROJECT_FILES} == {"9.8.7"}


@pytest.mark.downloads
def test_what_a_stranger_makes_of_a_release(release: Path, tmp_path: Path) -> None:
    """Whoever builds a tag again gets its bytes, and is told of a tag that says otherwise."""
    stranger = clone_of(release, tmp_path / "stranger")
    sums = Path("dist", "v9.8.7", "SHA256SUMS")

    assert "these are the bytes that the message of v9.8.7 says" in run(stranger, "--tag", "v9.8.7")
    assert (stranger / sums).read_text() == (release / sums).read_text()
    message = git(release, "for-each-ref", "--format=%(contents)", "refs/tags/v9.8.7")
    wrong = message.replace(message.splitlines()[2][:64], "0" * 64)
    git(stranger, "tag", "--force", "--annotate", f"--message={wrong}", "v9.8.7", "v9.8.7^{}")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run(stranger, "--tag", "v9.8.7")
    line = "release: other bytes than the message of v9.8.7 says: wheelyard-9.8.7-py3-none-any.whl"
    assert failed.value.stderr.strip() == line
