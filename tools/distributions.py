"""The sdists and the wheels of both packages: built twice, compared, and tried."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from tools.programs import Refused, run

PACKAGES: Final = {"wheelyard": ".", "wheelyard_keyring": "keyring"}
"""The folders that the distributions are built from."""
ELSEWHERE: Final = {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"}
"""What differs when everything is built for the second time."""
HATCHLING: Final = (sys.executable, "-m", "hatchling", "build")
SDIST_SETTINGS: Final = "[tool.hatch.build.targets.sdist] in pyproject.toml"
"""Where a new file or folder of the root has to be named."""
OLD: Final = 1_000_000_000
"""When every file of the second folder was changed: in 2001."""
SECONDS: Final = 30
"""How long the server may take until it answers."""


def build_twice(clone: Path, output: Path, work: Path) -> None:
    """Build a clone into a folder; refuse one that gives other bytes elsewhere."""
    _build(clone, output, umask=0o022)
    work.mkdir()
    _build(_elsewhere(clone, work / "other folder"), work / "other", umask=0o077, **ELSEWHERE)
    _compare(output, work / "other", distributions(output))
    for package in PACKAGES:
        wheel, archive = distributions(output, package)
        _compare(output, _wheel_of_sdist(archive, work / package), [wheel])


def distributions(folder: Path, package: str | None = None) -> list[Path]:
    """Return the wheel and the sdist of a package, or those of both."""
    if package is None:
        return [path for name in PACKAGES for path in distributions(folder, name)]
    (wheel,) = folder.glob(f"{package}-*.whl")
    (archive,) = folder.glob(f"{package}-*.tar.gz")
    return [wheel, archive]


def sha256_lines(paths: Iterable[Path]) -> str:
    """Return a line for each file, as sha256sum writes it."""
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths
    )


def _build(tree: Path, output: Path, umask: int, **variables: str) -> None:
    for folder in PACKAGES.values():
        run(*HATCHLING, "--directory", output, cwd=tree / folder, umask=umask, **variables)


def _elsewhere(clone: Path, folder: Path) -> Path:
    """Return a copy of a clone without git: with other modes and times, and leftovers of Python."""
    shutil.copytree(clone, folder, ignore=shutil.ignore_patterns(".git"))
    cache = folder / "src" / "wheelyard" / "__pycache__"
    cache.mkdir()
    (cache / "left.cpython-311.pyc").touch()
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
        os.utime(path, (OLD, OLD))
    return folder


def _wheel_of_sdist(archive: Path, work: Path) -> Path:
    """Build the wheel from an sdist, as an installer does; return its folder."""
    work.mkdir()
    run("tar", "--extract", f"--file={archive}", cwd=work)
    (tree,) = work.iterdir()
    run(*HATCHLING, "--target", "wheel", "--directory", work / "wheel", cwd=tree)
    return work / "wheel"


def _compare(folder: Path, other: Path, paths: Iterable[Path]) -> None:
    for path in paths:
        if (folder / path.name).read_bytes() != (other / path.name).read_bytes():
            raise Refused(f"{path.name} is not reproducible: a second build gave other bytes")


def check_contents(clone: Path, folder: Path) -> None:
    """Refuse wheels with more than a package, and an sdist that is not what git has."""
    for package in PACKAGES:
        wheel, _ = distributions(folder, package)
        with zipfile.ZipFile(wheel) as opened:
            tops = {name.split("/")[0] for name in opened.namelist()}
        more = tops - {package, f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info"}
        if more:
            raise Refused(f"{wheel.name} has more than its package: {', '.join(sorted(more))}")
    _, archive = distributions(folder, "wheelyard")
    with tarfile.open(archive) as opened:
        inside = {name.partition("/")[2] for name in opened.getnames()} - {"PKG-INFO"}
    different = sorted(inside ^ set(run("git", "ls-files", cwd=clone).splitlines()))
    if different:
        files = ", ".join(different[:3])
        raise Refused(f"{archive.name} differs from what git has: {files}; see {SDIST_SETTINGS}")


def try_wheels(clone: Path, folder: Path, version: str, work: Path) -> None:
    """Install the wheels and what is locked into an empty environment, and serve from there."""
    python = work / "environment" / "bin" / "python"
    uv = (sys.executable, "-m", "uv")
    install = (*uv, "pip", "install", "--quiet", "--python", python)
    wheels = {package: distributions(folder, package)[0] for package in PACKAGES}
    requirements = clone / "requirements"
    run(*uv, "venv", "--quiet", "--python", sys.executable, python.parent.parent, cwd=work)
    run(*install, "--require-hashes", "-r", requirements / "run.txt", cwd=work)
    run(*install, "--no-deps", wheels["wheelyard"], cwd=work)
    run(*uv, "pip", "check", "--quiet", "--python", python, cwd=work)
    constraint = ("--constraint", requirements / "dev.txt")
    run(*install, *constraint, wheels["wheelyard_keyring"], cwd=work)
    run(python, "-c", "import wheelyard_keyring.backend", cwd=work)
    command = python.with_name("wheelyard")
    printed = run(command, "--version", cwd=work)
    if printed != f"wheelyard {version}":
        raise Refused(f"`wheelyard --version` of the wheel says {printed!r}")
    _serve(command, version, work)


def _serve(command: Path, version: str, work: Path) -> None:
    """Start the installed server; refuse one that does not answer, or with another version."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    place = ("--store", work / "store", "--port", str(port))
    with (
        (work / "log").open("wb") as log,
        subprocess.Popen([command, "serve", *place], cwd=work, stdout=log, stderr=log) as server,
    ):
        try:
            metrics = _answer(f"http://127.0.0.1:{port}/metrics", server)
        finally:
            server.terminate()
    if f'version="{version}"' not in metrics:
        log_text = (work / "log").read_text(encoding="utf-8")
        sys.stderr.write(log_text)
        raise Refused(f"`wheelyard serve` of the wheel does not answer as {version}, see above")


def _answer(url: str, server: "subprocess.Popen[bytes]") -> str:
    """Return what a server answers as soon as it does, or nothing."""
    for _ in range(SECONDS * 10):
        with suppress(OSError), urlopen(url, timeout=SECONDS) as answer:  # noqa: S310  # our URL
            body: bytes = answer.read()
            return body.decode()
        if server.poll() is not None:
            break
        time.sleep(0.1)
    return ""
