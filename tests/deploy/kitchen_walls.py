"""
A room with nothing of this machine in it but `/usr`: what a base image is for a container.

It is a mount namespace, whose root is a folder of its own. `/usr` is this machine's and cannot be
written; the Python that runs the tests is in `/usr/local`, where official images have theirs; of
`/etc`, `/home`, `/root`, `/opt` and `/var` nothing is to be seen.
"""

import functools
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.clients.harness import system_program

DEVICES = ("null", "zero", "full", "random", "urandom")
LINKS = ("bin", "lib", "lib32", "lib64", "sbin")
SYSTEM_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSWD = "root:x:0:0:root:/root:/bin/sh\n"


@dataclass(frozen=True)
class Stay:
    """
    How a program is to be there.

    Args:
        user: UID and GID.
        is_fixed: Whether nothing can be written but `/tmp` and what is mounted.
        has_network: Whether it sees this machine's network; else it has none at all.
        mounts: Folders and files of this machine, by where they are in there.
    """

    user: tuple[int, int] = (0, 0)
    is_fixed: bool = False
    has_network: bool = False
    mounts: Mapping[str, Path] = field(default_factory=dict)


def make_room(root: Path) -> None:
    """Make a folder that can be entered."""
    for name in ("dev", "etc", "proc", "root", "run", "tmp", "usr", "var"):
        (root / name).mkdir(parents=True)
    for name in DEVICES:
        (root / "dev" / name).touch()
    for name in LINKS:
        if (place := Path("/", name)).is_symlink():
            (root / name).symlink_to(place.readlink())
        elif place.is_dir():
            (root / name).mkdir()
    (root / "etc" / "passwd").write_text(PASSWD)
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (root / "etc" / "ld.so.conf").write_text("/usr/local/lib\n")
    command = enter(root, Stay(), "/", ["ldconfig"])
    subprocess.run(command, check=True, env={"PATH": SYSTEM_PATH})


def enter(root: Path, stay: Stay, folder: str, command: Sequence[str]) -> list[str]:
    """Return what starts a command in there; signals reach it, as it is the same process."""
    place = shlex.quote(str(root))
    lines = [f"mount --bind {place} {place}", *_bound(root, "/usr", Path("/usr"), is_fixed=True)]
    lines += _bound(root, "/usr/local", python_prefix(root.parent), is_fixed=True)
    lines += [line for name in LINKS for line in _linked(root, name)]
    lines += [line for name in DEVICES for line in _bound(root, f"/dev/{name}", Path("/dev", name))]
    lines.append(f"mount --rbind /proc {place}/proc")
    lines.append(f"mount -t tmpfs -o mode=1777 tmpfs {root / 'tmp'}")
    for target, source in stay.mounts.items():
        lines += _bound(root, target, source)
    if stay.is_fixed:
        lines.append(f"mount -o remount,bind,ro {place}")
    lines += [f"cd {place}", "pivot_root . .", "umount -l .", f"cd {shlex.quote(folder)}"]
    lines.append(f"exec {_as_user(stay.user)} {shlex.join(command)}")
    network = [] if stay.has_network else ["--net"]
    return [*_unshare(), *network, "/bin/sh", "-ceu", "\n".join(lines)]


def python_prefix(folder: Path) -> Path:
    """Return what is mounted as `/usr/local`: a Python, or links to the one of this machine."""
    if sys.base_prefix != "/usr":
        return Path(sys.base_prefix)
    local = folder / "local"
    (local / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("python", "python3"):
        if not (local / "bin" / name).is_symlink():
            (local / "bin" / name).symlink_to(f"/usr/bin/python3.{sys.version_info.minor}")
    return local


@functools.cache
def _unshare() -> tuple[str, ...]:
    """Return what opens namespaces here, or skip the test."""
    program = system_program("unshare")
    for options in (("--mount",), ("--map-root-user", "--mount")):
        if options == ("--mount",) and os.geteuid() != 0:
            continue
        probe = [program, *options, "--net", "/bin/sh", "-c", "mount -t tmpfs probe /mnt"]
        if subprocess.run(probe, check=False, capture_output=True).returncode == 0:
            return (program, *options)
    pytest.skip("no mount namespace may be opened here")


def _as_user(user: tuple[int, int]) -> str:
    if user == (0, 0):
        return ""
    if os.geteuid() != 0:  # only one user is known in there: it takes the number
        return f"unshare --user --map-user={user[0]} --map-group={user[1]}"
    identity = f"--reuid={user[0]} --regid={user[1]} --clear-groups"
    return f"setpriv {identity} --no-new-privs --inh-caps=-all --bounding-set=-all"


def _bound(root: Path, target: str, source: Path, *, is_fixed: bool = False) -> list[str]:
    place = shlex.quote(f"{root}{target}")
    lines = [f"mount --bind {shlex.quote(str(source))} {place}"]
    return [*lines, f"mount -o remount,bind,ro {place}"] if is_fixed else lines


def _linked(root: Path, name: str) -> list[str]:
    """Mount what is a folder of its own where `/usr` has not been merged."""
    if Path("/", name).is_symlink() or not Path("/", name).is_dir():
        return []
    return _bound(root, f"/{name}", Path("/", name), is_fixed=True)
