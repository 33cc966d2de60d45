"""The page with the form for uploads, and with the file that was just uploaded."""

from typing import Literal

from msgspec import Struct

from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.forms import FormState


class UploadedFile(Struct, frozen=True):
    """A file that was uploaded, also as JSON for the script of the page."""

    filename: str
    status: Literal["uploaded", "there"]
    """`there` if it was listed with the same content already."""
    project: str
    warnings: tuple[str, ...]


def upload_page(
    environment: PageEnvironment,
    viewer: Viewer,
    form: FormState,
    uploaded: UploadedFile | None,
    *,
    max_size: int,
    zip_sdists: bool,
) -> bytes:
    """Return the page with the upload form, for a file of `max_size` MiB, and above it a result."""
    values = {"form": form, "uploaded": uploaded, "max_size": max_size, "zip_sdists": zip_sdists}
    return environment.render("upload.html", viewer, "../../", **values)
