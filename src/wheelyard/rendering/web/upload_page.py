"""The file that was just uploaded, on the page with the form for uploads."""

from typing import Literal

from msgspec import Struct


class UploadedFile(Struct, frozen=True):
    """A file that was uploaded, also as JSON for the script of the page."""

    filename: str
    status: Literal["uploaded", "there"]
    """`there` if it was listed with the same content already."""
    project: str
    warnings: tuple[str, ...]
