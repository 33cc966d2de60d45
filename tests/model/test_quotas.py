"""Quotas of bytes and files."""

from hypothesis import given
from hypothesis import strategies as st

from wheelyard.model.quotas import (
    FORM_BYTES,
    UNKNOWN_SIZE,
    ListedAmount,
    Quota,
    Quotas,
    project_room,
    size_in_form,
    size_of_file,
    size_of_files,
)

AMOUNTS = st.integers(0, 1 << 40)
FIELDS = st.fixed_dictionaries(
    dict.fromkeys(Quotas.__struct_fields__, st.none() | st.integers(0, 10**9))
)


@given(st.builds(Quota, AMOUNTS, AMOUNTS), st.builds(ListedAmount, AMOUNTS, AMOUNTS), AMOUNTS)
def test_a_file_is_refused_exactly_if_it_would_pass_the_quota(
    quota: Quota, used: ListedAmount, size: int
) -> None:
    """A file is taken if the project has no more than its quota with it, and only then."""
    room, after = project_room("demo", quota, used), used.with_file(size)

    fits = (not quota.bytes or after.bytes <= quota.bytes) and (
        not quota.files or after.files <= quota.files
    )

    assert (room.refusal(size_of_file(size)) is None) == fits
    assert room.with_file(size).used == after


@given(FIELDS, FIELDS)
def test_an_index_overrides_single_quotas(
    defaults: dict[str, int | None], own: dict[str, int | None]
) -> None:
    """An index has its own quotas, and for those that it does not name the ones of the section."""
    quotas = Quotas(**defaults).overridden_by(Quotas(**own))

    for name in Quotas.__struct_fields__:
        said = own[name]
        assert getattr(quotas, name) == (defaults[name] if said is None else said)


def test_refusals_have_the_numbers() -> None:
    """Who is refused reads the quota, what is used, the size of the file, and what to do."""
    quota = Quota(bytes=10 << 20, files=3)

    by_size = project_room("demo", quota, ListedAmount(9 << 20, 2)).refusal(size_of_file(3 << 20))
    by_files = project_room("demo", quota, ListedAmount(0, 3)).refusal(UNKNOWN_SIZE)
    full = project_room("demo", quota, ListedAmount(10 << 20, 2)).refusal(UNKNOWN_SIZE)
    by_sum = project_room("demo", quota, ListedAmount(9 << 20, 0)).refusal(
        size_of_files([1 << 20, 2 << 20])
    )

    assert by_size is not None
    assert by_files is not None
    assert full is not None
    assert by_sum is not None
    assert by_size.message == (
        "The project 'demo' has 9.0 MiB of its quota of 10.0 MiB, and this file has 3.0 MiB. "
        "Delete old releases, or ask the operator of the index for a higher project_size."
    )
    assert by_files.fact == (
        "The project 'demo' has 3 files of its quota of 3 files, and this is one more."
    )
    assert full.fact == "The project 'demo' has 10.0 MiB of its quota of 10.0 MiB, and is full."
    assert "of 10.0 MiB, and these 2 files have 3.0 MiB." in by_sum.message


def test_a_single_file_is_told_of_as_one() -> None:
    """A promotion or a restore of a single file is refused in the words of an upload."""
    assert size_of_files([3 << 20]) == size_of_file(3 << 20)


def test_a_form_of_unknown_length_says_nothing_of_its_file() -> None:
    """A client that does not say the length of an upload is told no size of it."""
    assert size_in_form(0) == UNKNOWN_SIZE


@given(st.integers(1, 1 << 40), st.integers(0, 1 << 25), st.integers(0, FORM_BYTES))
def test_a_form_never_says_more_than_its_file_has(size: int, before: int, after: int) -> None:
    """What the length of a form tells of its file is never more than the file has."""
    assert size_in_form(before + size + after, before).least <= size


def test_the_share_is_the_larger_one() -> None:
    """Of two limits the share is that of the one which is reached first."""
    assert Quota().share(ListedAmount(5, 5)) is None
    assert Quota(bytes=10, files=100).share(ListedAmount(5, 80)) == 0.8
