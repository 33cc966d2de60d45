"""Wheels' entry points, right and wrong; ids as in the attack list."""

from pathlib import Path

import pytest

from tests.archive.builders import DEFLATED, INFO, WHEEL_NAME, Entry, inspect_bytes, wheel_bytes
from tests.archive.wheels import MIB
from wheelyard.errors import Invalid


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(b"[console_scripts]\n../../evil = demo:x", "unsafe_archive", id="W65-path"),
        pytest.param(b"[gui_scripts]\n..\\evil = demo:x", "unsafe_archive", id="W65-backslash"),
        pytest.param(b"[console_scripts]\n.. = demo:x", "unsafe_archive", id="W65-dots"),
        pytest.param(b"[console_scripts]\na b = demo:x", "invalid_metadata", id="W66-blank"),
        pytest.param(b"[console_scripts]\n= demo:x", "invalid_metadata", id="W66-no-name"),
        pytest.param(b"[a]\nx = 1\nx = 2", "invalid_metadata", id="W66-name-twice"),
        *(
            pytest.param(
                b"[console_scripts]\nfoo = " + value, "invalid_metadata", id=f"W66-{value!r}"
            )
            for value in (
                b"demo:x; import os",
                b"demo:x()",
                b"demo:x\n  import os",
                b"demo:x\n  y = demo:z",
                b"demo; import os:x",
                b"demo:x [a] + 1",
                b"demo.:x",
                b"1demo:x",
                b"demo",
                b"",
            )
        ),
        pytest.param(b"x = demo:x", "invalid_metadata", id="W66-no-group"),
        pytest.param(b"[a]\nhello", "invalid_metadata", id="W66-not-ini"),
        pytest.param(b"[a\nx = 1", "invalid_metadata", id="W66-open-group"),
        pytest.param(b"[a]\n[a]\n", "invalid_metadata", id="W66-group-twice"),
        pytest.param(b"[a]\n\xe9 = 1", "invalid_metadata", id="W66-not-utf8"),
        pytest.param(b"[a]\n" + b"#" * MIB, "archive_bomb", id="W66-large"),
    ],
)
def test_refuses_entry_points(tmp_path: Path, text: bytes, code: str) -> None:
    """Commands that an installer would write elsewhere, or cannot read, are refused."""
    entry = Entry(INFO + b"/entry_points.txt", text, DEFLATED)
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(entry))
    assert caught.value.code == code


def test_accepts_entry_points(tmp_path: Path) -> None:
    """Comments, blank lines, continued values and free names of other groups are fine."""
    text = (
        b"# what\n; else\n\n[console_scripts]\na.b-c_1 = demo:x [extra]\n"
        b"d = demo._sub.mod : Class.main\n  [one, two-3]\ne=demo:x\n"
        b"[gui_scripts]\n  f = demo:x\n  g = demo:y\n"
        b"[pytest11]\nany thing/at all = demo\n  :more\n"
    )
    data = wheel_bytes(Entry(INFO + b"/entry_points.txt", text))
    assert inspect_bytes(tmp_path, WHEEL_NAME, data).warnings == ()
