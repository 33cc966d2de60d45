"""
Images and containers, made by Debian's `buildah`: as root, without a daemon and without a registry.

The base is a small Debian with Python. It is made of the files that its packages have on this
machine, so nothing is fetched but the wheels that the locks name.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from tests.clients.harness import REPOSITORY, system_program
from tests.http_server import until_healthy
from tests.once import made_once
from tests.ports import free_port

PYTHON = "/usr/bin/python3"
"""Debian's own, whichever Python runs the tests."""
PACKAGES = (
    *("coreutils", "dash", "findutils", "grep", "hostname", "libc-bin", "passwd"),
    *("python3-venv", "sed", "util-linux"),
)
LEFT_OUT = re.compile(r"/(?:etc|var|usr/share/(?:doc|info|lintian|locale|man))/")
PIP_CONF = "[global]\nno-index = true\nfind-links = /run/wheels\n"
NOTE_AND_RUN = """
import os, sys
with open("/tmp/pid", "w") as file:
    file.write(str(os.getpid()))
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Becomes another program, once the number of the process is noted. An image may have no shell."""
LINUX_CONTEXT = (
    *("pyproject.toml", "README.md", "LICENSE", "docs", "src", "requirements", "deploy/linux"),
)
"""What `deploy/linux/install.sh` needs of a clone."""
LOCKS = [REPOSITORY / "requirements" / f"{name}.txt" for name in ("build", "otel")]


@dataclass(frozen=True)
class Buildah:
    """A folder with images and containers, and the program that works on it."""

    storage: Path

    def line(self, *words: str | Path) -> list[str]:
        """Return a command line."""
        places = ("--root", self.storage / "root", "--runroot", self.storage / "run")
        return [*map(str, ("buildah", *places, "--storage-driver", "vfs", *words))]

    def run(self, *words: str | Path) -> str:
        """Run a command that has to succeed; return what it prints."""
        done = subprocess.run(self.line(*words), check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def new_base(self, *packages: str) -> str:
        """Make a container with nothing but the base and some packages in it; return its name."""
        root = self.storage / "base"
        write_base(root, *packages)
        container = self.run("from", "scratch")
        self.run("add", "--quiet", container, root, "/")
        shutil.rmtree(root)
        return container


@dataclass(frozen=True)
class Container:
    """A container, in which commands run one after the other or beside each other."""

    buildah: Buildah
    name: str
    user: str = ""
    """UID and GID; empty: those that the image names."""
    mounts: Mapping[str, Path] = field(default_factory=dict)
    """Folders and files of this machine, by where they are in there."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The environment variables of a command, besides those of the image."""

    @property
    def root(self) -> Path:
        """Its root folder."""
        return Path(self.buildah.run("mount", self.name))

    def _line(self, *command: str, **variables: str) -> list[str]:
        options = [f"--user={self.user}"] if self.user else []
        options += [f"--volume={source}:{target}" for target, source in self.mounts.items()]
        merged = {**self.variables, **variables}
        options += [f"--env={name}={value}" for name, value in merged.items()]
        return self.buildah.line("run", "--isolation=chroot", *options, self.name, "--", *command)

    def call(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever comes of it."""
        line = self._line(*command, **variables)
        return subprocess.run(line, check=False, capture_output=True, text=True, timeout=300)

    def output(self, *command: str, **variables: str) -> str:
        """Run a command that has to succeed; return what it prints."""
        done = self.call(*command, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def serving(self, log: Path, *command: str, variable: str = "PORT") -> Iterator[str]:
        """
        Run a server until the block ends, assert a clean exit, and yield its URL.

        `/tmp` has to be mounted; `variable` is the one by which the server is told its port.
        """
        port = free_port()
        with self.running(log, *command, **{variable: str(port)}) as process:
            until_healthy(process, f"127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"

    @contextmanager
    def running(
        self, log: Path, *command: str, **variables: str
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a program until the block ends, and assert a clean exit. `/tmp` has to be mounted."""
        # buildah kills where it is to end: so the program itself is told to, by the number it has
        noted = ("python3", "-IS", "-c", NOTE_AND_RUN, *command)
        with log.open("w") as output:
            process = subprocess.Popen(
                self._line(*noted, **variables), stdout=output, stderr=output
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.kill(int((self.mounts["/tmp"] / "pid").read_text()), 15)  # noqa: S108
            status = process.wait(60)
            sys.stderr.write(log.read_text())  # which pytest shows where a test has failed
        assert status == 0, log.read_text()

    @classmethod
    @contextmanager
    def copied(cls, buildah: Buildah, name: str) -> Iterator[Self]:
        """
        Copy the files of a container into a new one, and remove it when the block ends.

        Programs are linked and not copied: they may be added and removed there, but not changed.
        """
        copy = cls(buildah, buildah.run("from", "scratch"))
        try:
            places = {True: list[Path](), False: list[Path]()}
            for place in cls(buildah, name).root.iterdir():
                places[place.name in {"srv", "usr"}].append(place)
            for options, found in (("--link", places[True]), ("--no-dereference", places[False])):
                subprocess.run(["cp", "--archive", options, *found, copy.root], check=True)
            yield copy
        finally:
            buildah.run("rm", copy.name)


def write_base(root: Path, *packages: str) -> None:
    """Write a system with a Python, tools that make users, and packages, and no `/etc`."""
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in ("dev", "etc", "opt", "proc", "root", "run", "sys", "tmp", "usr/local/bin", "var"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\n")
    (root / "usr" / "local" / "bin" / "python").symlink_to(PYTHON)
    for name in _files_of_packages(*packages):
        source, target = Path(name), root / name.lstrip("/")
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def write_files(root: Path, files: Mapping[str, str]) -> None:
    """Write texts by their paths below a root folder, as files that everybody may run."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        (root / path).chmod(0o755)


def copy_of_clone(names: Iterable[str], clone: Path) -> None:
    """Copy files and folders of this clone into another folder."""
    for name in names:
        source, target = REPOSITORY / name, clone / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)


def _files_of_packages(*more: str) -> list[str]:
    """Return the files of the packages of the base, of `more`, and of all that those need."""
    options = ("--installed", "--recurse", "--important")
    output = _output(system_program("apt-cache"), "depends", *options, *PACKAGES, *more)
    packages = {line for line in output.splitlines() if line[:1] not in {"", " ", "<"}}
    files = set(_output("dpkg-query", "--listfiles", *sorted(packages)).splitlines())
    return sorted(file for file in files if file[:1] == "/" and not LEFT_OUT.match(file))


def _output(*command: str) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def wheels() -> Path:
    """Fetch what the locks of the image name, for the Python of the base; return the folder."""
    version = _output(PYTHON, "-c", "import sys; print(*sys.version_info[:2], sep='.')").strip()

    def fetch(folder: Path) -> None:
        options = ("--quiet", "--only-binary=:all:", "--require-hashes", "--no-deps")
        where = (f"--python-version={version}", f"--dest={folder}")
        locks = [f"--requirement={lock}" for lock in LOCKS]
        command = [sys.executable, "-m", "pip", "download", *options, *where, *locks]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"the wheels of the image cannot be fetched: {done.stderr[-200:]}")

    return made_once("wheels", [*LOCKS, version], fetch)


def require_buildah() -> None:
    """Skip the test unless buildah is installed and may be used."""
    if os.geteuid() != 0:
        pytest.skip("buildah is used as root here")
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace may be opened here, as buildah does")
    system_program("buildah")


def require_processor(name: str) -> None:
    """Skip the test unless this machine runs programs for a processor, perhaps by an emulator."""
    cpu = {"amd64": "x86_64", "arm64": "aarch64"}[name]
    if platform.machine() != cpu and not Path(f"/proc/sys/fs/binfmt_misc/qemu-{cpu}").exists():
        pytest.skip(f"no emulator of {cpu} is registered with the kernel")
