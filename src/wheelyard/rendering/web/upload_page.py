"""The page with the form for uploads, and with the results of those that were just made."""

from collections.abc import Sequence

from msgspec import Struct

from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.forms import FormState


class UploadedRow(Struct, frozen=True, kw_only=True):
    """The result of one file."""

    filename: str
    state: str = ""
    """What became of it, for people: `uploaded`; of no meaning if it was refused."""
    project: str = ""
    warnings: tuple[str, ...] = ()
    error: str = ""


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
