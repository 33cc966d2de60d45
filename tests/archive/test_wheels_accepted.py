"""Wheels: what is accepted, and what with a warning; ids as in the attack list."""

from pathlib import Path

import pytest

from tests.archive.builders import (
    DEFLATED,
    INFO,
    METADATA,
    WHEEL,
    WHEEL_NAME,
    Entry,
    fields,
    inspect_bytes,
    wheel_bytes,
    wheel_entries,
    zip_bytes,
)
from tests.archive.wheels import (
    GOOD,
    MIB,
    NUMBERS_64,
    A,
    changed,
    extra_field,
    unicode_path,
    widened,
)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(zip_bytes(wheel_entries(), comment=b"hello"), id="W05-comment"),
        pytest.param(widened(), id="W11-zip64"),
        pytest.param(
            widened(
                end={
                    "entries": 0xFFFF,
                    "entries_here": 0xFFFF,
                    "size": 0xFFFFFFFF,
                    "offset": 0xFFFFFFFF,
                }
            ),
            id="W11-zip64-markers",
        ),
        pytest.param(
            changed(
                local={"extra": NUMBERS_64, "size": 0xFFFFFFFF, "compressed": 0xFFFFFFFF},
            ),
            id="W14-local-64",
        ),
        pytest.param(changed(both=fields(extra=NUMBERS_64)), id="W14-both-agree"),
        pytest.param(changed(both=fields(extra=extra_field(1, b""))), id="W14-empty"),
        pytest.param(changed(both=fields(extra=unicode_path(A.name))), id="W28-same-name"),
        pytest.param(changed(local={"extra": b"UT\5\0\1abcd"}), id="W29-time-stamps"),
        pytest.param(
            wheel_bytes(Entry("demo/é.py".encode(), both=fields(flags=1 << 11))), id="W31-utf8"
        ),
        pytest.param(wheel_bytes(Entry(b"demo/aux.py")), id="W36-device-with-suffix"),
        pytest.param(wheel_bytes(Entry(b"demo/d/")), id="W37-folder"),
        pytest.param(
            wheel_bytes(Entry(b"demo/d/", central={"attributes": 0o040755 << 16})),
            id="W37-folder-with-mode",
        ),
        pytest.param(changed(central={"attributes": 0o106755 << 16}), id="W38-setuid"),
        pytest.param(wheel_bytes(info=b"Demo-1.0.dist-info"), id="W43-case"),
        pytest.param(wheel_bytes(info=b"demo-1.0.0.dist-info"), id="W44-version"),
        pytest.param(
            wheel_bytes(Entry(b"demo/_vendor/other-1.dist-info/METADATA")), id="W42-vendored"
        ),
        pytest.param(wheel_bytes(Entry(b"demo/a.zip", GOOD)), id="W58-nested"),
        pytest.param(wheel_bytes(Entry(b"demo/zeros", bytes(60 * MIB), DEFLATED)), id="W57-less"),
        pytest.param(
            wheel_bytes(
                Entry(INFO + b"/licenses/LICENSE", b"free"),
                metadata=METADATA + b"License-File: LICENSE\n",
            ),
            id="W67-licence-file",
        ),
        pytest.param(
            wheel_bytes(metadata=METADATA.replace(b"2.4", b"2.1") + b"License-File: LICENSE\n"),
            id="W67-older",
        ),
        *(
            pytest.param(changed(both=fields(date=date, time=time)), id=f"W70-{name}")
            for name, date, time in (("1979", 0, 0), ("2108", 0xFFFF, 0), ("62s", 33, 31))
        ),
        pytest.param(zip_bytes(reversed(wheel_entries())), id="any-order"),
    ],
)
def test_accepts(tmp_path: Path, data: bytes) -> None:
    """A wheel that every client installs in the same way is accepted without a warning."""
    contents = inspect_bytes(tmp_path, WHEEL_NAME, data)
    assert contents.core.name == "demo"
    assert contents.warnings == ()


def test_serves_the_exact_metadata(tmp_path: Path) -> None:
    """The metadata that is served is METADATA byte for byte, odd line ends included."""
    raw = METADATA.replace(b"\n", b"\r\n") + b"X-Unknown: 1\r\n\r\nRead me.\n"
    assert inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(metadata=raw)).metadata == raw


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        pytest.param(wheel_bytes(Entry(b"demo/A.py"), A), "upper and lower case", id="W39"),
        pytest.param(
            wheel_bytes(wheel=WHEEL.replace(b"1.0", b"1.9")), "newer than this index", id="W47-1.9"
        ),
        pytest.param(wheel_bytes(wheel=b"Wheel-Version: 1.0\n"), "differ", id="W48-no-tags"),
        pytest.param(
            wheel_bytes(wheel=WHEEL.replace(b"py3", b"py2.py3")), "differ", id="W48-more-tags"
        ),
        pytest.param(
            wheel_bytes(wheel=b"Wheel-Version: 1.0\nTag: " + b"a.b" * 999 + b"-" + b"c." * 999),
            "differ",
            id="W48-too-many-tags",
        ),
        pytest.param(
            wheel_bytes(metadata=METADATA.replace(b"2.4", b"2.99")), "newer", id="M02-metadata"
        ),
    ],
)
def test_warns(tmp_path: Path, data: bytes, warning: str) -> None:
    """What breaks only some platforms or tools is accepted with a warning."""
    contents = inspect_bytes(tmp_path, WHEEL_NAME, data)
    assert warning in contents.warnings[0]
    assert len(contents.warnings) == 1


def test_compressed_tags_in_wheel_file_are_the_same_tags(tmp_path: Path) -> None:
    """W48: a WHEEL file may write its tags as compressed as the filename."""
    data = wheel_bytes(wheel=WHEEL.replace(b"py3", b"py2.py3"))
    contents = inspect_bytes(tmp_path, "demo-1.0-py2.py3-none-any.whl", data)
    assert contents.warnings == ()
