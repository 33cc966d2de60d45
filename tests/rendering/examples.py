"""Projects as values, for pages to be made of."""

from datetime import UTC, datetime

from hypothesis import strategies as st
from packaging.utils import NormalizedName

from wheelyard.model.project import File, Project, Status

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


def file(
    version: str = "1.0",
    *,
    is_wheel: bool = True,
    yanked: str | None = None,
    requires_python: str | None = None,
) -> File:
    """Make a file of the project demo."""
    filename = f"demo-{version}-py3-none-any.whl" if is_wheel else f"demo-{version}.tar.gz"
    return File(
        filename=filename,
        version=version,
        sha256="a" * 64,
        size=1337,
        uploaded_at=NOON,
        uploaded_by="local:ann",
        sidecars={"metadata": "b" * 64},
        requires_python=requires_python,
        yanked=yanked,
    )


def project(*files: File, status: Status = Status.ACTIVE, reason: str = "") -> Project:
    """Make the project demo."""
    return Project(
        name=NormalizedName("demo"), revision=1, status=status, reason=reason, files=files
    )


FILES = st.builds(
    file,
    st.sampled_from(["1.0", "1!2.0", "1.0+cu121", "2.0rc1", "0.1.dev3"]),
    is_wheel=st.booleans(),
    yanked=st.none() | TEXT,
    requires_python=st.none() | TEXT.filter(bool),
)
PROJECTS = st.builds(
    lambda files, status, reason: project(*files, status=status, reason=reason),
    st.lists(FILES, max_size=6),
    st.sampled_from(Status),
    TEXT,
)
