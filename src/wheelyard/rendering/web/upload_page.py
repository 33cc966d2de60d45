"""The page with the form for uploads, and with the results of those that were just made."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.forms import FormState


class UploadedRow(Struct, frozen=True, omit_defaults=True):
    """The result of one file, also as JSON for the script of the page."""

    filename: str
    status: Literal["uploaded", "there", "refused"]
    """`there` if it was listed with the same content already."""
    project: str = ""
    warnings: tuple[str, ...] = ()
    message: str = ""
    """Why it was refused, for people."""
    error: str = ""
    """The code of that error."""


def upload_page(
    environment: PageEnvironment,
    viewer: Viewer,
    form: FormState,
    rows: Sequence[UploadedRow] = (),
    *,
    max_size: int,
    zip_sdists: bool,
) -> bytes:
    """Return the page with the upload form, for files of `max_size` MiB, and above it results."""
    values = {"form": form, "rows": rows, "max_size": max_size, "zip_sdists": zip_sdists}
    return environment.render("upload.html", viewer, "../../", **values)
