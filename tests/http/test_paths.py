"""Which part of a request's path is below the prefix."""

import pytest

from wheelyard.errors import NotFound
from wheelyard.http.paths import AT_THE_ROOT, Path, parse_path


def test_what_is_asked_for_at_the_root() -> None:
    """Probes, and jobs that publish, need not know the prefix; all else is below it."""
    for segments in AT_THE_ROOT:
        raw = f"/{'/'.join(segments)}"
        assert parse_path(raw.encode(), "/pypi") == Path(segments, ends_with_slash=False)
        with pytest.raises(NotFound):
            parse_path(f"{raw}/".encode(), "/pypi")
    assert parse_path(b"/pypi/simple/", "/pypi") == Path(("simple",), ends_with_slash=True)
