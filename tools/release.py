"""
A release: what is checked, built twice and compared before anybody can install it.

    nox -s release -- [VERSION] --dry-run   # checks and builds all of it, and changes nothing
    nox -s release -- [VERSION]             # the same, then makes the commit and the tag here
    nox -s release -- --tag v0.2.0          # builds that tag again; its message has the digests

Everything is made from a clone of what is committed, so no untracked or ignored file gets into
it. Nothing is pushed or published: pushing the tag starts `.github/workflows/release.yml`, which
builds the same again. maintaining/releasing.md has what is left for a person.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import tomllib
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from packaging.version import Version

from tools.changelog import is_dated, release_notes, released, sections
from tools.distributions import (
    build_twice,
    check_contents,
    distributions,
    sha256_lines,
    try_wheels,
)
from tools.programs import Refused, run, run_module, say

ROOT: Final = Path(__file__).resolve().parents[1]
PROJECT_FILES: Final = ("pyproject.toml", "keyring/pyproject.toml")
VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(?:(?:a|b|rc)[0-9]+)?")
VERSION_LINE: Final = re.compile(r'^version = "[^"]+"$', re.MULTILINE)
CHECKLIST: Final = """
What is left for a person (maintaining/releasing.md):
  [ ] the long tests and the checks on live services have passed
  [ ] the files in {output} are what you expect: read release-notes.md
  [ ] git push --atomic origin HEAD:main v{version}     # starts the workflow
  [ ] approve the environments pypi, pypi-keyring and release of the workflow
  [ ] verify what was published, as a stranger would
"""


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Do what the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(prog="nox -s release --", allow_abbrev=False)
    parser.add_argument("version", nargs="?", help="without it, that of pyproject.toml")
    parser.add_argument("--dry-run", action="store_true", help="make no commit and no tag")
    parser.add_argument("--tag", help="build this tag again, and compare")
    options = parser.parse_args(arguments)
    if options.tag and (options.version or options.dry_run):
        parser.error("--tag stands alone")
    try:
        with tempfile.TemporaryDirectory(prefix="wheelyard-release-") as folder:
            check_python()
            if options.tag:
                rebuild(root, options.tag, Path(folder))
            else:
                prepare(root, options.version, Path(folder), is_dry=options.dry_run)
    except Refused as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


def prepare(root: Path, asked: str | None, work: Path, *, is_dry: bool) -> None:
    """Make a release of what is committed; unless it is a dry run, commit and tag it."""
    check_tree(root)
    version = next_version(root, asked)
    clone = cloned(root, "HEAD", work)
    set_version(clone, version)
    set_changelog(clone, version)
    if run("git", "status", "--porcelain", cwd=clone):
        commit(clone, f"Release {version}", root)
    output = make(clone, version, work, root)
    make_image(clone, output / "image")
    if is_dry:
        say("this was a dry run: nothing is committed, nothing is tagged")
    else:
        message = work / "message"
        message.write_text(f"wheelyard {version}\n\n{sha256_lines(distributions(output))}")
        run("git", "fetch", "--quiet", clone, "HEAD", cwd=root)
        run("git", "merge", "--quiet", "--ff-only", "FETCH_HEAD", cwd=root)
        run("git", "tag", "--annotate", f"--file={message}", f"v{version}", cwd=root)
        say(f"the commit is made, and the tag v{version}")
    print(CHECKLIST.format(version=version, output=output.relative_to(root)), end="")


def rebuild(root: Path, tag: str, work: Path) -> None:
    """Build a tag again; refuse other bytes than those whose digests its message has."""
    contents = ("--format=%(contents)%(objecttype)", f"refs/tags/{tag}")
    described = run("git", "for-each-ref", *contents, cwd=root)
    if not described.endswith("\ntag"):
        raise Refused(f"there is no annotated tag {tag} here; get it: git fetch origin tag {tag}")
    clone = cloned(root, f"refs/tags/{tag}", work)
    versions = {project_version(clone / name) for name in PROJECT_FILES}
    if versions != {tag.removeprefix("v")}:
        raise Refused(f"{tag} is the tag of a commit whose version is {', '.join(versions)}")
    (version,) = versions
    if not is_dated(read(clone / "CHANGELOG.md"), version):
        raise Refused(f"CHANGELOG.md of {tag} has no section with a date for {version}")
    output = make(clone, version, work, root)
    made = sha256_lines(distributions(output)).splitlines()
    different = [line.split()[-1] for line in made if line not in described.splitlines()]
    if different:
        raise Refused(f"other bytes than the message of {tag} says: {', '.join(different)}")
    say(f"these are the bytes that the message of {tag} says")


def check_python() -> None:
    """Refuse a Python whose compression gives other bytes than that of most machines."""
    if "ng" in zlib.ZLIB_RUNTIME_VERSION:
        raise Refused("this Python compresses with zlib-ng, so its bytes differ; take another one")


def check_tree(root: Path) -> None:
    """Refuse changes that are not committed, and new files that git does not ignore."""
    changed = run("git", "status", "--porcelain", cwd=root).splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if changed[1:] else ""
        raise Refused(f"not committed: {changed[0][3:]}{more}; commit or remove that first")


def next_version(root: Path, asked: str | None) -> str:
    """Return the version to release; refuse one that is malformed, tagged or too old."""
    text = asked or project_version(root / "pyproject.toml")
    version = parsed(text)
    if version is None:
        raise Refused(f"{text} is no version to release; such are 0.2.0 and 1.0.0rc1")
    tags = run("git", "tag", "--list", "v*", cwd=root).split()
    if f"v{text}" in tags:
        raise Refused(f"v{text} is tagged already; give a newer one: nox -s release -- VERSION")
    newer = [tag for tag in tags if (tagged := parsed(tag[1:])) and tagged > version]
    if newer:
        raise Refused(f"{text} is older than {newer[-1]}, which is tagged; give a newer one")
    return text


def parsed(text: str) -> Version | None:
    """Return a version of ours, or None: three numbers, and perhaps `a1`, `b1` or `rc1`."""
    if not VERSION.fullmatch(text):
        return None
    version = Version(text)
    return version if str(version) == text else None


def project_version(path: Path) -> str:
    """Return the version that a pyproject.toml has."""
    version: str = tomllib.loads(read(path))["project"]["version"]
    return version


def set_version(folder: Path, version: str) -> None:
    """Write the version of pyproject.toml, and the keyring's, which is built without the other."""
    for name in PROJECT_FILES:
        path = folder / name
        path.write_text(VERSION_LINE.sub(f'version = "{version}"', read(path), count=1))
        if project_version(path) != version:
            raise Refused(f"{name} has no line `version = ...`")


def set_changelog(folder: Path, version: str) -> None:
    """Make *Unreleased* the section of the version, unless it has one."""
    path = folder / "CHANGELOG.md"
    text = read(path)
    unreleased = sections(text).get("Unreleased")
    if is_dated(text, version):
        if unreleased:
            raise Refused(f"CHANGELOG.md has a section for {version}; Unreleased has to be empty")
    elif unreleased:
        path.write_text(released(text, version, datetime.now(UTC).date()), encoding="utf-8")
    else:
        raise Refused(f"CHANGELOG.md has no section for {version}, and Unreleased is empty")


def make(clone: Path, version: str, work: Path, root: Path) -> Path:
    """Build and check all of a clone; return the folder below dist/ that has it."""
    made = work / f"v{version}"
    say(f"building {version} twice, from {run('git', 'rev-parse', 'HEAD', cwd=clone)}")
    build_twice(clone, made, work / "again")
    check_contents(clone, made)
    run_module("twine", "check", "--strict", *distributions(made), cwd=clone)
    say("installing the wheels into an empty environment, and serving from there")
    try_wheels(clone, made, version, work)
    say("writing the SBOM")
    wheel, _ = distributions(made, "wheelyard")
    run_module("tools.sbom", wheel, made / f"wheelyard-{version}.cdx.json", cwd=clone)
    (made / "SHA256SUMS").write_text(sha256_lines(sorted(made.iterdir())))
    notes = release_notes(read(clone / "CHANGELOG.md"), version)
    (made / "release-notes.md").write_text(notes, encoding="utf-8")
    output = root / "dist" / made.name
    shutil.rmtree(output, ignore_errors=True)
    shutil.copytree(made, output)
    return output


def make_image(clone: Path, output: Path) -> None:
    """Build the image for one processor, where that can be done; the workflow builds both."""
    if shutil.which("buildah") is None or os.geteuid() != 0:
        say("the image was NOT built: that needs buildah, and root")
        return
    say("building the image, for one processor")
    run_module("tools.image", "build", "--arch", "amd64", "--output", output, cwd=clone)


def cloned(root: Path, name: str, work: Path) -> Path:
    """Return a clone at a commit, without tags and without what is not committed."""
    hashed = run("git", "rev-parse", f"{name}^{{commit}}", cwd=root)
    clone = work / "clone"
    run("git", "clone", "--quiet", "--no-tags", "--no-checkout", root, clone, cwd=root)
    run("git", "checkout", "--quiet", "--detach", hashed, cwd=clone)
    return clone


def commit(clone: Path, subject: str, root: Path) -> None:
    """Commit what has changed in a clone, by whom the settings of the repository name."""
    asked = ("git", "config", "--default", "", "--get")
    names = {key: run(*asked, key, cwd=root) for key in ("user.name", "user.email")}
    if not all(names.values()):
        raise Refused("git does not know who commits: set user.name and user.email")
    author = [part for key, name in names.items() for part in ("-c", f"{key}={name}")]
    run("git", *author, "commit", "--quiet", "--all", f"--message={subject}", cwd=clone)


def read(path: Path) -> str:
    """Return a text file of the repository."""
    return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
