"""Dependencies in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.rendering.web.core_metadata import dependency_groups, parse_dependency


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("python_version < '3.11'", "Python older than 3.11"),
        ("python_full_version >= '3.8.1'", "Python 3.8.1 or newer"),
        ("'3.8' < python_version", "Python newer than 3.8"),
        ("python_version == '3.8'", "Python 3.8"),
        ("python_version != '3.8'", "not Python 3.8"),
        ("sys_platform == 'win32'", "Windows"),
        ("platform_system != 'Darwin'", "not macOS"),
        ("os_name == 'posix' and python_version > '3'", "Unix and Python newer than 3"),
        ("platform_python_implementation == 'CPython'", "CPython"),
        ("platform_machine == 'aarch64'", "aarch64 processors"),
        (
            "(os_name == 'nt' or sys_platform == 'cygwin') and python_version <= '3.9'",
            "(Windows or Cygwin) and Python 3.9 or older",
        ),
        ("(os_name == 'nt' or sys_platform == 'cygwin')", "Windows or Cygwin"),
        ("python_version in '3.8 3.9'", 'python_version in "3.8 3.9"'),
        ("platform_release >= '5'", 'platform_release >= "5"'),
    ],
)
def test_condition_is_said_in_words(marker: str, words: str) -> None:
    """A page says when a dependency is needed, as far as there are words for it."""
    found = parse_dependency(f"other>=1; {marker}")
    assert (found.condition, found.extras) == (words, ())


@pytest.mark.parametrize(
    ("marker", "extras", "words"),
    [
        ("extra == 'test'", ("test",), ""),
        ("extra == 'Test_It'", ("test-it",), ""),
        ("extra == 'a' or extra == 'b'", ("a", "b"), ""),
        ("sys_platform == 'win32' and extra == 'a'", ("a",), "Windows"),
        ("(os_name == 'nt' or os_name == 'posix') and extra == 'a'", ("a",), "Windows or Unix"),
        (
            "os_name == 'nt' or os_name == 'posix' and extra == 'a'",
            (),
            "Windows or Unix and with the extra a",
        ),
    ],
)
def test_dependency_stands_with_its_extra(marker: str, extras: tuple[str, ...], words: str) -> None:
    """A dependency stands with the extra that asks for it, unless its marker says more."""
    found = parse_dependency(f"other; {marker}")
    assert (found.extras, found.condition) == (extras, words)


def test_dependencies_are_grouped_by_extra() -> None:
    """What is always needed comes first, then what each extra needs, perhaps nothing."""
    wanted = ["Base_1[fast,a]<3,>=2", "cov; extra == 'test'", "at @ https://x.example/a.zip"]
    groups = dependency_groups(wanted, ["docs", "test"])
    assert list(groups) == ["", "docs", "test"]
    base, at = groups[""]
    assert (base.name, base.spelling, base.versions) == ("base-1", "Base_1[a, fast]", ">=2, <3")
    assert at.versions == "@ https://x.example/a.zip"
    assert groups["docs"] == ()
    assert dependency_groups([], []) == {}


@given(st.text(max_size=60) | st.from_regex(r"a; (\(|extra|and|or|==|'x'| ){0,12}"))
def test_any_text_is_shown(text: str) -> None:
    """A requirement that no client understands, of an old release, is shown as it is."""
    found = parse_dependency(text)
    assert found.spelling or not text
    assert found.name or (found.spelling, found.condition) == (text, "")
