"""Whatever sdist is accepted, every program that unpacks it finds the same files in it."""

from pathlib import Path

import pytest
from hypothesis import event, given, settings

from tests.archive.builders import SDIST_NAME, inspect_bytes
from tests.archive.families import ALIKE, DIFFERENT
from tests.archive.mutations import CHANGES, PACKED, cases
from tests.archive.unpacking import unpacked
from wheelyard.errors import Invalid


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in DIFFERENT.items()])
def test_what_programs_unpack_differently_is_refused(tmp_path: Path, data: bytes) -> None:
    """An sdist that two programs could unpack differently is refused, with one sentence."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, SDIST_NAME, data)

    assert caught.value.code in {"invalid_archive", "unsafe_archive"}
    assert caught.value.message.isascii()
    assert caught.value.fact.startswith("The file is refused: ")


@pytest.mark.integration
@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in ALIKE.items()])
def test_what_programs_unpack_alike_is_accepted(tmp_path: Path, data: bytes) -> None:
    """What only looks odd is accepted, and every program unpacks the same files from it."""
    inspect_bytes(tmp_path, SDIST_NAME, data)

    results = unpacked(data)

    assert {program: complaint for program, (complaint, _) in results.items() if complaint} == {}
    first, *others = (found for _, found in results.values())
    assert "demo-1.0/PKG-INFO" in first
    assert others == [first] * len(others)


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("what", [*CHANGES, *PACKED])
def test_what_is_accepted_means_the_same(tmp_path: Path, what: str) -> None:
    """An sdist in which something was changed is refused, or unpacked by all to the same files."""

    @settings(max_examples=100 if what == "changed_field" else 20, deadline=None)
    @given(cases(what))
    def check(data: bytes) -> None:
        try:
            inspect_bytes(tmp_path, SDIST_NAME, data)
        except Invalid as refusal:
            event(refusal.fact)
            return
        event("accepted")
        results = unpacked(data)
        first, *others = (found for _, found in results.values())
        assert others == [first] * len(others), results
        assert results["tarfile"][0] == ""

    check()
