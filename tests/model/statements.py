"""Statements of jobs with some claims changed, and which of them is wrong then."""

from collections.abc import Mapping

from hypothesis import strategies as st

from tests.model.jobs import Table, publisher
from wheelyard.model.publisher import Publisher

WORKFLOW = "octo-org/octo-repo/.github/workflows/release.yml"
PIPELINE = "gitlab.com/group/tools//.gitlab-ci.yml"
PUBLISH = "octo-org/ci/.github/workflows/publish.yml"
SHA = "9898863c7dcd844a6fc3c70191769b8d07567f57"

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
"""Whatever JSON may hold."""


def wrong(table: Table, says: Mapping[str, object], **claims: object) -> str:
    """Return which claim of a statement is wrong, with some claims changed; empty if none is."""
    mismatch = publisher(table).mismatch({**says, **claims})
    return mismatch[1].claim if mismatch else ""


def matches(who: Publisher, claims: Mapping[str, object]) -> str | None:
    """Return None if `claims` are the publisher's, else which claim is wrong, as it is shown."""
    mismatch = who.mismatch(claims)
    return mismatch[1].description if mismatch else None
