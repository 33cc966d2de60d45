"""Which part of a request's path is below the prefix."""

import pytest

from wheelyard.errors import NotFound
from wheelyard.http.paths import PROBES, Path, parse_path


def test_probes_are_at_the_root() -> None:
    """Whoever looks whether the server is well need not know the prefix; all else is below it."""
    for segments in PROBES:
        raw = f"/{segments[0]}"
        assert parse_path(raw.encode(), "/pypi") == Path(segments, ends_with_slash=False)
        with pytest.raises(NotFound):
            parse_path(f"{raw}/".encode(), "/pypi")
    assert parse_path(b"/pypi/simple/", "/pypi") == Path(("simple",), ends_with_slash=True)
