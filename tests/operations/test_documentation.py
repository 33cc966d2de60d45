"""What is read of a folder with the documentation."""

from pathlib import Path

import pytest

from wheelyard.operations.documentation import read_folder


@pytest.mark.parametrize(
    ("name", "head", "size"),
    [
        ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 300">', (880, 300)),
        ("a.webp", b"RIFF....WEBPVP8X........\x6f\x03\x00\x2b\x01\x00", (880, 300)),
        ("a.webp", b"RIFF....WEBPVP8 ..........\x70\x43\x2c\x81", (880, 300)),
        ("a.toml", b"width = 880", None),
    ],
)
def test_pictures_have_a_width_and_a_height(
    tmp_path: Path, name: str, head: bytes, size: tuple[int, int] | None
) -> None:
    """A picture of the documentation has the width and the height that its file says."""
    (tmp_path / name).write_bytes(head)

    assert read_folder(tmp_path).sizes.get(name) == size
