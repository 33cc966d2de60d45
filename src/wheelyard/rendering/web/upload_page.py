"""The page with the form for uploads, and with the results of those that were just made."""

from collections.abc import Sequence
from dataclasses import dataclass

from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.forms import FormState
from wheelyard.rendering.web.viewer import Viewer


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedRow:
    """The result of one file."""

    filename: str
    state: str = ""
    """What became of it, for people: `uploaded`; of no meaning if it was refused."""
    project: str = ""
    warnings: tuple[str, ...] = ()
    error: str = ""
    """Why it was refused; empty if it was not."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What the page says about the files that are accepted."""

    max_size: int
    """The largest file, in MiB."""
    zip_sdists: bool


def upload_page(
    environment: PageEnvironment,
    viewer: Viewer,
    form: FormState,
    limits: UploadLimits,
    rows: Sequence[UploadedRow] = (),
) -> bytes:
    """Return the page with the upload form, and above it the results of an upload."""
    return environment.render(
        "upload.html",
        viewer,
        "../../",
        form=form,
        rows=rows,
        max_size=limits.max_size,
        zip_sdists=limits.zip_sdists,
    )
