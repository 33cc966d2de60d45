"""What a filename may name, where its version may begin behind several hyphens."""

from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from tests.operations.old_sdists import REAL
from tests.refused import refused
from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import (
    KnownDistribution,
    filename_readings,
    is_stem_of,
    known_filename_readings,
    parse_filename,
    parse_known_filename,
    reading_of,
)

NAMES = st.from_regex(r"[A-Za-z0-9]{1,4}([._-]{1,2}[A-Za-z0-9]{1,4}){0,3}", fullmatch=True)
SEPARATORS = st.sampled_from(["", ".", "-", "_"])
VERSIONS = st.tuples(
    st.from_regex(r"v?[0-9]{1,3}(\.[0-9]{1,3}){0,2}", fullmatch=True),
    st.one_of(
        st.just(""),
        st.from_regex(r"-[0-9]{1,8}", fullmatch=True),
        st.tuples(
            SEPARATORS,
            st.sampled_from(["a", "alpha", "rc", "post", "rev", "dev"]),
            SEPARATORS,
            st.integers(0, 20).map(str),
        ).map("".join),
    ),
    st.sampled_from(["", ".dev1", "-dev-2", "+local", "+a-b.1"]),
).map("".join)
SUFFIXES = st.sampled_from([".tar.gz", ".zip", ".tgz", ".tar.bz2", ".win32.exe", ".win-amd64.msi"])


def is_version(text: str) -> bool:
    """Return whether a text is a version."""
    with suppress(InvalidVersion):
        return bool(Version(text))
    return False


def read_by_clients(stem: str, project: str) -> list[Version]:
    """Return the version that a client which knows the project reads: that of pip's finder."""
    for at in (index for index, character in enumerate(stem) if character == "-"):
        if canonicalize_name(stem[:at]) == project:
            with suppress(InvalidVersion):
                return [Version(stem[at + 1 :])]
            break
    return []


@given(name=NAMES, version=VERSIONS, suffix=SUFFIXES)
@example(name="leo", version="6.7.8-9", suffix=".tar.gz")
def test_the_project_decides(name: str, version: str, suffix: str) -> None:
    """Whoever knows the project reads its version, whatever hyphens name and version have."""
    assume(is_version(version))
    expected = Version(version)
    project, filename = canonicalize_name(name), f"{name}-{version}{suffix}"

    parsed = parse_known_filename(filename, project)

    assert (parsed.project, parsed.version, parsed.filename) == (project, expected, filename)
    assert read_by_clients(f"{name}-{version}", project) == [expected]


@given(name=NAMES, version=VERSIONS)
@example(name="demo", version="1.0-1")
def test_each_reading_is_that_of_a_client(name: str, version: str) -> None:
    """Each reading is what clients take for its project, and no project is missing or twice."""
    assume(is_version(version))
    stem = f"{name}-{version}"
    readings = filename_readings(f"{stem}.tar.gz")
    prefixes = [stem[:at] for at, character in enumerate(stem) if character == "-"]
    valid = {canonicalize_name(prefix) for prefix in prefixes if prefix[-1:].isalnum()}

    assert len({reading.project for reading in readings}) == len(readings)
    for project in valid:
        reading = reading_of(readings, project)
        versions = [] if reading is None else [reading.version]
        assert versions == read_by_clients(stem, project)
    if len(readings) > 1:
        with refused(Invalid, "ambiguous_filename"):
            parse_filename(f"{stem}.tar.gz")
    for reading in readings:
        assert is_stem_of(stem, reading)


@given(st.text("ab19.-_+!v", max_size=20), SUFFIXES)
@example("x-1.0-", ".tar.gz")
def test_any_other_name_is_refused(stem: str, suffix: str) -> None:
    """Of any text there is a reading, or it is refused as a client's mistake."""
    filename = f"{stem}{suffix}"
    readings: tuple[KnownDistribution, ...] = ()
    with suppress(Invalid):
        readings = known_filename_readings(filename)
        assert readings

    projects = [reading.project for reading in readings]
    assert sorted(projects, key=len) == projects
    assert [parse_known_filename(filename, name) for name in projects] == list(readings)


@pytest.mark.parametrize("filename", REAL)
def test_real_filenames(filename: str) -> None:
    """Real filenames have the version that pip and uv install."""
    project, version = REAL[filename]

    assert str(parse_filename(filename, canonicalize_name(project)).version) == version
    with refused(Invalid, "invalid_filename"):
        parse_filename(filename, canonicalize_name("another"))


@pytest.mark.parametrize(
    "filename", ["demo-1.0-1-py3-none-any.whl", "demo-1.0_1-py2.7.egg", "demo-1.0-py2.7-linux.egg"]
)
def test_build_numbers_stay(filename: str) -> None:
    """What follows the version of a wheel is its build number, and an egg has no such hyphen."""
    (reading,) = known_filename_readings(filename)

    assert reading.project == "demo"
    assert parse_known_filename(filename) == reading


def test_folders_of_archives() -> None:
    """The folder of an sdist may spell the version with a hyphen, and that of a wheel may not."""
    sdist = parse_filename("my_demo-1.0.post1.tar.gz")
    wheel = parse_filename("my_demo-1.0.post1-py3-none-any.whl")

    assert [is_stem_of("my-demo-1.0-1", each) for each in (sdist, wheel)] == [True, False]
    assert [is_stem_of("my-demo-1.0.post1", each) for each in (sdist, wheel)] == [True, True]


def test_a_message_is_short() -> None:
    """A filename with as many readings as there can be, of a long name, has a short message."""
    filename = f"{'a' * 108}-1-a-2-post-3-dev-4.tar.gz"
    assert len(filename_readings(filename)) == 4
    with refused(Invalid, "ambiguous_filename") as caught:
        parse_filename(filename)
    assert len(caught.value.message) < 1024
