"""Archives, unpacked by common programs."""

import os
import subprocess
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.clients.harness import system_program

Unpacked = dict[str, object]
"""From each path to the bytes of a file; of a symbolic link, to its target and the bytes there."""

UTF8 = ("env", "LC_ALL=C.UTF-8")
FLAGS = ("--no-same-owner", "--no-same-permissions")


def unpacked(data: bytes, *, is_zip: bool = False) -> dict[str, tuple[str, Unpacked]]:
    """Return for each program what it complained of, and what it has unpacked."""
    results = {}
    with TemporaryDirectory() as name:
        file = Path(name, "archive")
        file.write_bytes(data)
        for program, unpack in (OF_ZIPS if is_zip else OF_TARS).items():
            target = Path(name, program)
            target.mkdir()
            complaint = unpack(file, target)
            results[program] = (complaint, dict(_found(target, target)))
    return results


def _by_zipfile(file: Path, target: Path) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            archive.extractall(target)  # noqa: S202  # the archive was accepted
    except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
        return repr(error)
    return ""


def _by_tarfile(file: Path, target: Path) -> str:
    try:
        with tarfile.open(file, "r:gz") as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
            archive.extractall(target)  # noqa: S202  # the archive was accepted
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        return repr(error)
    return ""


def _by(program: str, *flags: str) -> Callable[[Path, Path], str]:
    def unpack(file: Path, target: Path) -> str:
        done = subprocess.run(
            [*UTF8, system_program(program), *FLAGS, *flags, "-xf", file, "-C", target],
            capture_output=True,
            check=False,
            text=True,
            errors="replace",
        )
        return done.stderr or f"status {done.returncode}" if done.returncode else ""

    return unpack


_by_bsdtar = _by("bsdtar", "--no-acls", "--no-fflags", "--no-xattrs")
OF_TARS = {"tarfile": _by_tarfile, "tar": _by("tar", "--gzip"), "bsdtar": _by_bsdtar}
OF_ZIPS = {"zipfile": _by_zipfile, "bsdtar": _by_bsdtar}


def _found(folder: Path, root: Path) -> list[tuple[str, object]]:
    """Return the files of a folder; empty folders are left out."""
    folder.chmod(0o700)
    found: list[tuple[str, object]] = []
    for path in sorted(folder.iterdir()):
        # bsdtar brings the names of PAX headers into this form.
        name = unicodedata.normalize("NFC", str(path.relative_to(root)))
        if path.is_symlink():
            found.append((name, (os.path.normpath(path.readlink()), _behind(path))))
        elif path.is_dir():
            found += _found(path, root)
        else:
            path.chmod(0o600)
            found.append((name, path.read_bytes()))
    return found


def _behind(link: Path) -> bytes | None:
    try:
        return link.read_bytes()
    except OSError:
        return None
