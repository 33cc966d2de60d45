"""Versions and filenames, compared with what the packaging library makes of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_version
from packaging.version import Version

from tests.refused import refused
from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import (
    parse_filename,
    parse_known_filename,
    parse_version,
    strip_trailing_zeros,
)

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
def test_equal_versions_look_equal_without_zeros(text: str) -> None:
    """Versions that are equal look equal once the zeros at the end of the release are gone."""
    normalised = str(Version(text))

    assert strip_trailing_zeros(normalised) == canonicalize_version(normalised)


@pytest.mark.parametrize(
    ("filename", "facts"),
    [
        ("demo-1.0.tgz", ("demo", "1.0", "sdist", "source")),
        ("my.demo-1.0.tar.bz2", ("my-demo", "1.0", "sdist", "source")),
        ("demo-1.0.tar.xz", ("demo", "1.0", "sdist", "source")),
        ("demo-1.0.zip", ("demo", "1.0", "sdist", "source")),
        ("demo-1.0.tar", ("demo", "1.0", "sdist", "source")),
        ("My_Demo-1.0_1-py2.7.egg", ("my-demo", "1.0.post1", "bdist_egg", "2.7")),
        ("demo-1.0-py2.7-linux-x86_64.egg", ("demo", "1.0", "bdist_egg", "2.7")),
        ("demo-1.0.egg", ("demo", "1.0", "bdist_egg", "any")),
        ("my-demo-1.0.win32-py2.7.exe", ("my-demo", "1.0", "bdist_wininst", "2.7")),
        ("demo-1.0.win-amd64.exe", ("demo", "1.0", "bdist_wininst", "any")),
        ("demo-1.0rc1.win-amd64-py3.4.msi", ("demo", "1.0rc1", "bdist_msi", "3.4")),
        ("demo-1.0-py3-none-any.whl", ("demo", "1.0", "bdist_wheel", "py3")),
        ("x-1-py3-none-any.WHL.whl", ("x", "1", "bdist_wheel", "py3")),  # refused since
    ],
)
def test_every_format_of_an_old_index_is_known(filename: str, facts: tuple[str, ...]) -> None:
    """Every format that an old index has is known, with the name that PyPI gives it."""
    parsed = parse_known_filename(filename)

    assert (parsed.project, str(parsed.version), parsed.packagetype, parsed.python_version) == facts
    if not filename.endswith((".whl", ".zip")):
        with refused(Invalid, "invalid_filename"):
            parse_filename(filename, zip_sdists=True)


@pytest.mark.parametrize(
    "filename",
    [
        *("demo.egg", "demo-1.0-2.7.egg", "demo-one-py2.7.egg", "demo-1.0.exe", "setup.exe"),
        *("demo-1.0.win32-py2.7.zip", "demo-1.0.tar.gz.zip", "demo-1.0.tar.Z", "demo-1.0.rpm"),
        *("../demo-1.0.egg", "demo-1.0.win32.exe.exe", "-1.0.egg", "demo-1.0.tar.tar"),
    ],
)
def test_what_is_no_old_format(filename: str) -> None:
    """A file that is named like no distribution of any time is refused."""
    with pytest.raises(Invalid):
        parse_known_filename(filename)


def test_old_formats_are_other_files() -> None:
    """Eggs and installers for other Pythons and platforms stand beside each other."""
    names = ("demo-1.0-py2.6.egg", "demo-1.0-py2.7.egg", "demo-1.0-py2.7-win32.egg")
    more = ("demo-1.0.win32-py2.7.exe", "demo-1.0.win32-py2.7.msi", "demo-1.0.tar.gz")

    assert len({parse_known_filename(name).uniqueness_key for name in (*names, *more)}) == 6
    assert (
        parse_known_filename("demo-1.0.tar.bz2").uniqueness_key
        == parse_known_filename("demo-1.0.0.zip").uniqueness_key
    )


REFUSED = {
    "paths": (".-1.tar.gz", "..-1.tar.gz", "./x-1.tar.gz", "/x-1.tar.gz", "..%2fx-1.tar.gz"),
    "other slashes and colons": (
        "a\\b-1.tar.gz",
        "a\uff0fb-1.tar.gz",
        "a\u2215b-1.tar.gz",
        "a:b-1.tar.gz",
    ),
    "dots in the place of a part": ("..-1-py3-none-any.whl", "x-1-../py3-none-any.whl"),
    "two suffixes in a wheel": (
        *("x-1-py3-none-any.WHL.whl", "x-1-py3-none-any.whl.any.whl", "x-1-py3-none-whl.whl"),
        *("x-1-py3.tar-none-any.whl", "x-1-py3-Zip-any.whl", "x-1-py3-none-any.zip.whl"),
    ),
    "a suffix in other case, or two": (
        "x-1-py3-none-any.Whl",
        "x-1.tar.Gz",
        "x-1.TAR.gz",
        "x-1.tar.gz.whl",
    ),
    "line breaks": (
        "x-1\r.tar.gz",
        "x-1\x0b.tar.gz",
        "x\u2028-1.tar.gz",
        "x-1\x85.tar.gz",
        "x-1.tar.gz\n",
    ),
    "NUL and other controls": ("x%00-1.tar.gz", "x-1.tar.gz\0", "x\x7f-1.tar.gz"),
    "blanks and what looks like none": (
        "x\xa0-1.tar.gz",
        "x-\t1.tar.gz",
        "x-1.tar.gz ",
        "x-1\u200b.tar.gz",
        "\ufeffx-1.tar.gz",
    ),
    "separators at the ends of an sdist's name": (
        "x.-1.tar.gz",
        "x_-1.tar.gz",
        "-x-1.tar.gz",
        "x-.-1.tar.gz",
    ),
    "separators at the ends of a wheel's name": (
        "x.-1-py3-none-any.whl",
        ".x-1-py3-none-any.whl",
        "x__-1-py3-none-any.whl",
    ),
    "long versions": (f"x-{'.1' * 64}.tar.gz", f"x-1{'.1' * 64}.tar.gz", f"x-1+{'a' * 127}.tar.gz"),
    "long filenames": (f"x-1-py3-none-{'a' * 184}.whl", f"x-1-py3-none-{'a' * 500}.whl"),
    "malformed versions": ("x-v 1.tar.gz", "x-1.0+.tar.gz", "x-1..0.tar.gz", "x-1.0-.tar.gz"),
    "malformed tags": (
        "x-1-py3-none-.whl",
        "x-1-py3-none-..whl",
        "x-1-py3.-none-any.whl",
        "x-1-py\u0663-a-b.whl",
    ),
}


def test_a_long_version() -> None:
    """A version that is only too long is told so, and not that it is none."""
    with pytest.raises(Invalid, match="has more than 128 characters"):
        parse_version(f"1.0+{'a' * 500}")


@pytest.mark.parametrize(
    "filename", ["my demo-1.0-py3-none-any.whl", "d\u00e9mo-1.0.tar.gz", "demo-1.0.txt?a:b"]
)
def test_characters_of_no_filename(filename: str) -> None:
    """Who uploads a file with characters that no filename may have is told that they are why."""
    with pytest.raises(Invalid, match="characters that no distribution's name has"):
        parse_filename(filename)


@pytest.mark.parametrize(
    ("filename", "why"),
    [("x-1.zip.tar.gz", "it has two extensions"), ("1.0.tar.gz", "no hyphen divides its name")],
)
def test_what_is_wrong_with_an_sdist(filename: str, why: str) -> None:
    """Who uploads an sdist with a wrong filename is told what is wrong with it."""
    with refused(Invalid, "invalid_filename", why):
        parse_filename(filename)


def test_a_wheel_for_too_many_tags() -> None:
    """A wheel with more combinations of tags than any real one has is refused, and told so."""
    tags = ".".join("abcdefghijk")
    with pytest.raises(Invalid, match="it names more than 1000 tags"):
        parse_filename(f"x-1-{tags}-{tags}-{tags}.whl")


@pytest.mark.parametrize("row", REFUSED)
def test_ambiguous_filenames_are_refused(row: str) -> None:
    """A filename that packaging alone would take, or that readers take differently, is refused."""
    for filename in REFUSED[row]:
        with pytest.raises(Invalid) as caught:
            parse_filename(filename, zip_sdists=True)
        assert caught.value.code in ("invalid_filename", "invalid_version")


@pytest.mark.parametrize(
    "filename",
    [
        *("zip-1.0-py3-none-any.whl", "x.tar-1-py3-none-any.whl", "egg_whl-1-1zip-py3-a-b.whl"),
        *("x-1-py3-none-manylinux_2_17_x86_64.evil.whl", "x-1-py3-none-win32.any.whl"),
        *("x-1+gz-py3-none-any.whl", "x-01.tar.gz", "x-v1.tar.gz", "x-1RC0.tar.gz", "x-1!1.tar.gz"),
    ],
)
def test_odd_filenames_are_taken(filename: str) -> None:
    """A filename that is merely odd is taken."""
    assert parse_filename(filename).filename == filename
