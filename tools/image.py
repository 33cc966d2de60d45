"""
The container image of a release: `python -m tools.image build --output DIST`.

It builds `deploy/image/Dockerfile` by buildah, as root, on Debian packages of locked versions, for
each processor: DIST gets an OCI archive of all, and an SBOM of each. The same commit gives the same
bytes, on any machine with the same buildah. `python -m tools.image lock` locks the newest packages.
It needs Debian's `apt`, `buildah` and `debian-archive-keyring`, and `requirements/release.txt`.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tools import debian, sbom
from tools.debian import Mirrors
from tools.oci import Archive

ROOT: Final = Path(__file__).resolve().parents[1]
DOCKERFILE: Final = ROOT / "deploy" / "image" / "Dockerfile"
NAME: Final = "ghcr.io/wheelyard/wheelyard"
PROCESSORS: Final = {"amd64": "x86_64", "arm64": "aarch64"}
"""Names of processors for Debian and containers, and for wheels and the kernel."""
PYTHON: Final = "3.13"
NEWEST_GLIBC: Final = 41
"""The version of Python, and the minor one of glibc, in Debian 13."""
PROGRAMS: Final = ("apt-get", "buildah", "dpkg-deb", "git")
PIP_CONF: Final = "[global]\nno-index = true\nfind-links = /run/wheels/build /run/wheels/otel\n"


@dataclass(frozen=True)
class Workplace:
    """A folder for buildah's storage and what images are made of, and what all images share."""

    folder: Path
    mirrors: Mirrors | None
    version: str
    commit: str
    time: int
    """Of the commit, in seconds since 1970; all files of an image have it."""

    @property
    def reproducible(self) -> tuple[str, ...]:
        """The options without which buildah writes the time and its own version into an image."""
        return (f"--timestamp={self.time}", "--identity-label=false")

    def buildah(self, *words: str | Path) -> str:
        """Run a command of buildah; return what it prints."""
        # another driver puts the files of a layer in another order, and this one works everywhere
        driver = ("--storage-driver=vfs", "--root", self.folder / "storage")
        return _run("buildah", *driver, "--runroot", self.folder / "run", *words)

    def make_builder(self) -> str:
        """Make an image that installs Python packages, for this machine; return its ID."""
        machine = platform.machine()
        (processor,) = (name for name, cpu in PROCESSORS.items() if cpu == machine)
        debs = self.debs(processor, "image", "builder")
        root = self.folder / "root-builder"
        debian.unpack(debs, root)
        return self.commit_root(root, processor)

    def make_image(self, processor: str, builder: str, archive: Archive) -> str:
        """Build the image for a processor, and add it to an archive; return its SBOM."""
        debs, root = self.debs(processor, "image"), self.folder / f"root-{processor}"
        debian.unpack(debs, root)
        self.compile_modules(root, builder)
        base, wheels = self.commit_root(root, processor), self.wheels(processor)
        image = self.build(processor, {"BUILDER": builder, "PYTHON": base}, wheels)
        blobs = self.folder / f"blobs-{processor}"
        self.buildah("push", "--quiet", "--format=v2s2", image, f"dir:{blobs}")
        digest = archive.add_image(blobs, processor)
        parts = [
            sbom.wheelyard(self.version),
            *sbom.debian_packages(debs, root),
            *sbom.python_packages(sorted((wheels / "otel").iterdir())),
        ]
        subject = sbom.image(NAME, self.version, processor, digest)
        return sbom.document(subject, parts, datetime.fromtimestamp(self.time, UTC))

    def debs(self, processor: str, *uses: str) -> list[Path]:
        """Return the locked packages of Debian for some uses."""
        locked = [package for package in debian.read_lock(processor) if package.use in uses]
        return debian.fetch(processor, locked, self.mirrors)

    def wheels(self, processor: str) -> Path:
        """Return a folder with the wheels of the image, in a folder for each lock."""
        folder, cpu = self.folder / f"wheels-{processor}", PROCESSORS[processor]
        glibc = [f"manylinux_2_{minor}_{cpu}" for minor in range(17, NEWEST_GLIBC + 1)]
        download = (sys.executable, "-m", "pip", "download", "--quiet")
        locked = ("--only-binary=:all:", "--require-hashes", "--no-deps")
        platforms = [f"--platform={name}" for name in (*glibc, f"manylinux2014_{cpu}")]
        target = (f"--python-version={PYTHON}", *platforms)
        for lock in ("build", "otel"):
            files = (f"--dest={folder / lock}", f"--requirement={ROOT}/requirements/{lock}.txt")
            _run(*download, *locked, *target, *files)
        return folder

    def compile_modules(self, root: Path, builder: str) -> None:
        """Compile Python's own modules: whoever runs the image cannot write there."""
        container = self.buildah("from", "--pull-never", builder)
        how = ("-q", "-f", "-j1", "--invalidation-mode=unchecked-hash", "-s", "/target")
        self.buildah(
            *("run", "--isolation=chroot", f"--volume={root}:/target", "--env=PYTHONHASHSEED=0"),
            *(container, "--", "python3", "-m", "compileall", *how, "/target/usr/lib"),
        )

    def commit_root(self, root: Path, processor: str) -> str:
        """Make an image of a root folder; return its ID."""
        container = self.buildah("from", "scratch")
        self.buildah("config", f"--arch={processor}", container)
        self.buildah("add", "--quiet", container, root, "/")
        return self.buildah("commit", "--quiet", "--rm", *self.reproducible, container)

    def build(self, processor: str, arguments: Mapping[str, str], wheels: Path) -> str:
        """Build the Dockerfile for a processor, from wheels in a folder; return the image's ID."""
        settings = self.folder / "pip.conf"
        settings.write_text(PIP_CONF, encoding="utf-8")
        labels = {"VERSION": self.version, "REVISION": self.commit}
        return self.buildah(
            *("build", "--quiet", "--isolation=chroot", "--format=docker", "--pull-never"),
            *(f"--build-arg={name}={text}" for name, text in {**arguments, **labels}.items()),
            *(f"--platform=linux/{processor}", *self.reproducible),
            *(f"--secret=id=pip.conf,src={settings}", f"--volume={wheels}:/run/wheels:ro"),
            *(f"--ignorefile={DOCKERFILE}.dockerignore", f"--file={DOCKERFILE}", ROOT),
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the two commands; an error is one line, and the exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.image", description=__doc__)
    parser.add_argument("command", choices=("build", "lock"))
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="for what is built")
    parser.add_argument("--arch", action="append", choices=PROCESSORS, help="default: all")
    parser.add_argument("--mirror", metavar="URL", help="of Debian; default: that of apt here")
    parser.add_argument("--security-mirror", metavar="URL", help="of Debian's security updates")
    given = parser.parse_args(arguments)
    if (given.mirror is None) != (given.security_mirror is None):
        parser.error("--mirror and --security-mirror belong together")
    if given.command == "build" and given.output is None:
        parser.error("build needs --output")
    mirrors = Mirrors(given.mirror, given.security_mirror) if given.mirror else None
    processors = given.arch or [*PROCESSORS]
    try:
        if given.command == "lock":
            for processor in processors:
                debian.write_lock(processor, mirrors or Mirrors.of_this_machine())
        else:
            build(processors, given.output, mirrors)
    except debian.DebianError as error:
        sys.exit(f"image: {error}")


def build(processors: Sequence[str], output: Path, mirrors: Mirrors | None) -> None:
    """Write the OCI archive of the image for some processors, and its SBOMs."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        sys.exit(f"image: this needs root, and {', '.join(missing or PROGRAMS)}")
    os.umask(0o022)
    output.mkdir(parents=True, exist_ok=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    commit, time = _run("git", "-C", ROOT, "log", "-1", "--format=%H %ct").split()
    with TemporaryDirectory(dir="/var/tmp") as folder:  # not in memory: it has gigabytes
        place = Workplace(Path(folder), mirrors, project["version"], commit, int(time))
        builder, archive, name = place.make_builder(), Archive(), f"wheelyard-{place.version}-image"
        for processor in processors:
            text = place.make_image(processor, builder, archive)
            (output / f"{name}-{processor}.cdx.json").write_text(text, encoding="utf-8")
        digest = archive.write(output / f"{name}.tar", f"{NAME}:{place.version}")
    print(f"{digest}  {output / name}.tar")


def _run(*command: str | Path) -> str:
    """Run a command; return what it prints, or show its errors and exit."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - ours
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}image: {command[0]} has failed, see above")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
