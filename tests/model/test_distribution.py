"""Versions and filenames, compared with what the packaging library makes of them."""

from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_version
from packaging.version import Version

from wheelyard.model.distribution import without_zeros

NUMBERS = st.integers(0, 30)
RELEASES = st.lists(NUMBERS, min_size=1, max_size=5).map(lambda parts: ".".join(map(str, parts)))
SUFFIXES = [
    st.sampled_from(["", "1!", "2026!"]),
    RELEASES,
    st.sampled_from(["", "a0", "b10", "rc1"]),
    st.sampled_from(["", ".post0", ".post10"]),
    st.sampled_from(["", ".dev0", ".dev3"]),
    st.sampled_from(["", "+local", "+1.0", "+0.0", "+a.0.0"]),
]


@given(st.tuples(*SUFFIXES).map("".join))
def test_without_zeros(text: str) -> None:
    """Versions that are equal look equal once the zeros at the end of the release are gone."""
    normalised = str(Version(text))

    assert without_zeros(normalised) == canonicalize_version(normalised)
