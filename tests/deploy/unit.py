"""A unit of systemd, and what can be had of its restrictions without systemd."""

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

    def environment(self) -> dict[str, str]:
        """Return what `Environment=` sets."""
        words = " ".join(self._values["Environment"]).split()
        return {name: value for name, _, value in (word.partition("=") for word in words)}
