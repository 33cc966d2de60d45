"""Members of wheels: names and kinds that are unsafe to unpack; ids as in the attack list."""

from pathlib import Path

import pytest

from tests.archive.builders import WHEEL_NAME, Entry, inspect_bytes, wheel_bytes
from tests.archive.wheels import A
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.names import check_portable_name
from wheelyard.errors import Invalid

UNSAFE_NAMES = {
    "W30-nul": b"demo/a\0b.py",
    "W30-newline": b"demo/a\nb.py",
    "W32-parent": b"../evil.py",
    "W33-absolute": b"/etc/x",
    "W33-drive": b"C:/x",
    "W33-drive-backslash": b"C:\\x",
    "W33-host": b"//host/x",
    "W34-backslash": b"..\\evil.py",
    "W34-plain-backslash": b"demo\\evil.py",
    "W35-scripts": b"demo-1.0.data/scripts/../../../evil",
    "W36-dot": b"demo/./a",
    "W36-empty": b"demo//a",
    "W36-empty-end": b"demo//",
    "W36-blank": b"demo/a ",
    "W36-trailing-dot": b"demo/a.",
    "W36-trailing-dot-folder": b"demo./a",
    "W36-device": b"demo/CON",
    "W36-device-lower": b"nul/a",
    "W36-device-console": b"demo/conout$",
    "W36-device-superscript": "demo/COM\N{SUPERSCRIPT ONE}".encode(),
    "W36-colon": b"demo/a:b",
    "W36-no-name": b"",
    "W40-file-and-folder": b"demo/__init__.py/b.py",
    "W60-part-of-256": b"demo/" + b"a" * 256,
    "W60-long": b"demo/" + b"a" * 1020,
    "W60-deep": b"a/" * 64 + b"a",
}


@pytest.mark.parametrize("name", [pytest.param(name, id=key) for key, name in UNSAFE_NAMES.items()])
def test_refuses_names(tmp_path: Path, name: bytes) -> None:
    """A member whose name leads outside, or is no path on every platform, is refused."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(Entry(name, both={"flags": 1 << 11})))
    assert caught.value.code == "unsafe_archive"


@pytest.mark.parametrize(
    "control",
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x85\x9b\u2028\u2029",
)
def test_refuses_controls_of_display(tmp_path: Path, control: str) -> None:
    """A member whose name is shown otherwise than it is written is refused."""
    entry = Entry(f"demo/a{control}yp.b".encode(), both={"flags": 1 << 11})
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(entry))
    assert caught.value.code == "unsafe_archive"


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(mode, id=f"W37-{mode:o}")
        for mode in (0o120777, 0o020666, 0o060666, 0o010666, 0o140777, 0o040755)
    ],
)
def test_refuses_kinds(tmp_path: Path, mode: int) -> None:
    """A member that is a link, a device or a folder without a slash is refused."""
    entry = Entry(A.name, A.data, central={"attributes": mode << 16})
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(entry))
    assert caught.value.code == "unsafe_archive"


def test_package_may_be_named_for_a_device() -> None:
    """A project that is named for a device of Windows may have its package, and only that (F34)."""
    for name in ("con/__init__.py", "CON/a.py", "con/"):
        check_portable_name(name, ArchiveLimits(), "con")
    for name in ("con", "con/nul", "nul/a.py", "con/con/a.py"):
        with pytest.raises(Invalid):
            check_portable_name(name, ArchiveLimits(), "con")
