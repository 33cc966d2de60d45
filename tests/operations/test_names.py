"""Names, versions and filenames: one spelling each, whatever was written."""

import re
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from wheelyard.catalog import keys
from wheelyard.errors import Invalid
from wheelyard.model.api_token import ALPHABET, parse_token
from wheelyard.model.distribution_filename import parse_filename, parse_name, parse_version

NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?", fullmatch=True)
NUMBERS = st.integers(0, 9999)


@st.composite
def versions(draw: st.DrawFn) -> str:
    """Return a version in one of the spellings that PEP 440 allows."""
    epoch = draw(st.sampled_from(["", "", "1!"]))
    release = ".".join(map(str, draw(st.lists(NUMBERS, min_size=1, max_size=4))))
    rest = draw(st.sampled_from(["", "a1", "b2", "rc3", ".post4", ".dev5", "+local.1"]))
    return f"{epoch}{release}{rest}"


@given(NAMES)
def test_a_name_has_one_normal_form(text: str) -> None:
    """Normalising twice is normalising once, and the result is lower-case ASCII with dashes."""
    name = parse_name(text)

    assert parse_name(name) == name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert parse_name(text.swapcase().replace("_", ".")) == name


@given(NAMES, versions(), st.sampled_from(["py3-none-any", "cp312-abi3-linux_x86_64"]))
def test_a_filename_says_what_it_was_made_of(name: str, version: str, tag: str) -> None:
    """Name and version come back from the filename of a wheel and of an sdist."""
    spelled = re.sub(r"[-_.]+", "_", name)

    for filename in (f"{spelled}-{version}-{tag}.whl", f"{spelled}-{version}.tar.gz"):
        distribution = parse_filename(filename)

        assert distribution.filename == filename
        assert distribution.project == parse_name(name)
        assert distribution.version == Version(version)


@given(NAMES, versions())
def test_spellings_of_a_version_are_one_identity(name: str, version: str) -> None:
    """Zeros at the end of a release make no other file."""
    spelled = re.sub(r"[-_.]+", "_", name)
    release = re.match(r"(?:[0-9]+!)?[0-9.]*[0-9]", version)
    assert release is not None
    longer = f"{release[0]}.0{version[release.end() :]}"

    first = parse_filename(f"{spelled}-{version}.tar.gz")
    second = parse_filename(f"{spelled.upper()}-{longer}.tar.gz")

    assert first.uniqueness_key == second.uniqueness_key


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Any text is a name, a version or a filename in its own spelling, or Invalid."""
    with suppress(Invalid):
        assert str(keys.project(parse_name(text))) == f"projects/{parse_name(text)}.json"
    with suppress(Invalid):
        assert parse_version(str(parse_version(text))) == parse_version(text)
    for filename in (text, f"{text}.whl", f"{text}.tar.gz", f"demo-{text}-py3-none-any.whl"):
        with suppress(Invalid):
            assert parse_filename(filename).filename == filename
            assert "/" not in filename


@given(st.text(ALPHABET, min_size=48, max_size=48))
def test_a_random_token_is_noise(text: str) -> None:
    """Text of a token's shape without its check digits is told from a token."""
    assert parse_token(f"wyd_{text[:-6]}zzzzzz") is None
