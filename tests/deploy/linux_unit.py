"""
A unit of systemd, and what can be had of its restrictions without systemd.

A service runs in a room of `kitchen_walls.py` as its user, with nothing but its state and `/tmp` to
write to, without rights, and without memory that is written and then executed.
"""

from pathlib import Path

NO_EXECUTABLE_DATA = """\
import ctypes, os, sys
refused = ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0)
if refused and ctypes.get_errno() != 22:  # a kernel before 6.3 does not know it
    sys.exit("this memory cannot be guarded")
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""A program that does what `MemoryDenyWriteExecute=` asks for, and becomes the one it is given."""


class Unit:
    """A unit file: settings that stand more than once keep all their values."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = {}
        for line in text.replace("\\\n", " ").splitlines():
            name, is_setting, value = line.partition("=")
            if is_setting and not line.startswith(("#", ";")):
                self._values.setdefault(name, []).append(" ".join(value.split()))

    def one(self, name: str) -> str:
        """Return a setting that stands once."""
        (value,) = self._values[name]
        return value

    def all(self, name: str) -> list[str]:
        """Return every value of a setting."""
        return self._values.get(name, [])

    def environment(self) -> dict[str, str]:
        """Return what `Environment=` sets."""
        pairs = [word for line in self.all("Environment") for word in line.split()]
        return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def identity(passwd: Path, name: str) -> tuple[int, int]:
    """Return UID and GID of a user, as a file like `/etc/passwd` has them."""
    rows = (line.split(":") for line in passwd.read_text().splitlines())
    (found,) = [(int(row[2]), int(row[3])) for row in rows if row[0] == name]
    return found


def system_calls(listing: str, name: str) -> set[str]:
    """Return the system calls of a set, as `systemd-analyze syscall-filter` lists all sets."""
    sets: dict[str, list[str]] = {}
    members: list[str] = []
    for line in listing.splitlines():
        if line.startswith("@"):
            members = sets.setdefault(line.strip(), [])
        elif line.startswith("    ") and not line.strip().startswith("#"):
            members.append(line.strip())
    found: set[str] = set()
    waiting = [name]
    while waiting:
        inner = sets[waiting.pop()]
        found |= {member for member in inner if not member.startswith("@")}
        waiting += [member for member in inner if member.startswith("@")]
    return found
