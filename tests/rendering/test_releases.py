"""The releases of a project, of which each may be named in several spellings."""

from itertools import permutations

from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.rendering.examples import NOON, file
from wheelyard.model.project import Event, Project
from wheelyard.model.project_changes import apply
from wheelyard.rendering.project_facts import release_of, releases_of


def test_spellings_of_a_version_are_one_release() -> None:
    """A release is the same whether it is asked for or listed, in whatever order its files came."""
    files = (file("1.0"), file("1.0.0", is_wheel=False), file("1"))
    for order in permutations(files):
        project = Project(name=canonicalize_name("demo"))
        assert release_of(project, Version("1")) is None
        for each in order:
            project = apply(project, Event.uploaded(each, at=NOON, by="local:ann"))
            assert (release_of(project, Version("1.0.0")),) == releases_of(project)
