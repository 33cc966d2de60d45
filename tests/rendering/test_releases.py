"""The releases of a project, of which each may be named in several spellings."""

from itertools import permutations

from msgspec.structs import replace
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.rendering.examples import NOON, file, project
from tests.rendering.web.pages import shown_release
from wheelyard.model.project import Event, Project
from wheelyard.model.project_changes import apply
from wheelyard.rendering.project_facts import release_of, releases_of


def test_spellings_of_a_version_are_one_release() -> None:
    """A release is the same whether it is asked for or listed, in whatever order its files came."""
    files = (file("1.0"), file("1.0.0", is_wheel=False), file("1"))
    for order in permutations(files):
        made = Project(name=canonicalize_name("demo"))
        assert release_of(made, Version("1")) is None
        for each in order:
            made = apply(made, Event.uploaded(each, at=NOON, by="local:ann"))
            assert (release_of(made, Version("1.0.0")),) == releases_of(made)


def test_a_file_with_core_metadata_describes_its_release() -> None:
    """A release needs the Python that its core metadata say, also if its first file has none."""
    old = replace(file(), sidecars={})
    described = file(is_wheel=False, requires_python=">=3.9")

    assert "<code>&gt;=3.9</code>" in shown_release(project(old, described), "1.0")
    assert "Requires Python" not in shown_release(project(old), "1.0")


def test_wheels_of_a_release_come_first() -> None:
    """A wheel is before an sdist whose filename is sorted before it, as an old one is."""
    wheel = file()
    sdist = replace(file(is_wheel=False), filename="Demo-1.0.tar.gz")
    (release,) = releases_of(project(sdist, wheel))
    assert release.files == (wheel, sdist)
