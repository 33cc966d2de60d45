"""Which projects the settings of a client name: those wanted, and all private ones they need."""

import pytest

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.operations.in_memory_index import ALICE, IndexHarness, code_of
from tests.operations.old_files import EGG, list_old_file
from wheelyard.catalog import keys
from wheelyard.errors import NotFound, Unavailable
from wheelyard.model.access import Action, Caller, Scope, parse_pattern
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Status
from wheelyard.operations.names import ClientProjectsReader
from wheelyard.settings.sections import AccessSettings, Settings


def publish(harness: IndexHarness, *packages: Distribution) -> None:
    """Upload packages."""
    for package in packages:
        harness.upload(package)


def needing(name: str, *required: str, version: str = "1.0") -> Distribution:
    """Return a wheel that requires these."""
    return make_wheel(name, version, *(f"Requires-Dist: {each}" for each in required))


def named(
    harness: IndexHarness, *wanted: str, caller: Caller = ALICE, is_local: bool = True
) -> tuple[str, ...]:
    """Return the projects that the settings name, read by an index with empty caches."""
    reader = harness.opened(seed=2, is_local=is_local).client_projects
    return reader.read(caller, tuple(map(parse_name, wanted))).projects


@pytest.mark.parametrize("is_local", [True, False], ids=["folder", "bucket"])
def test_indirect_needs_are_named(harness: IndexHarness, *, is_local: bool) -> None:
    """What is needed indirectly is named, too; what is public is not."""
    publish(
        harness,
        needing("acme-app", "Acme_Core>=1", "requests"),
        needing("acme-core", "acme.lib[fast] (>=1)", "numpy; python_version < '4'"),
        needing("acme-lib", "acme-base ~= 1.0"),
        needing("acme-base"),
        needing("acme-other", "acme-app"),
    )

    closure = ("acme-app", "acme-core", "acme-lib", "acme-base")
    assert named(harness, "acme-app", is_local=is_local) == closure
    assert named(harness, "acme-lib", "Acme.App", is_local=is_local) == (
        *("acme-lib", "acme-app", "acme-base", "acme-core"),
    )
    assert named(harness, is_local=is_local) == ()


def test_every_extra_marker_version_and_file(harness: IndexHarness) -> None:
    """What any file of a project may need is named, whatever its version is."""
    publish(
        harness,
        needing("acme-app", "acme-old", version="0.1"),
        needing("acme-app", "acme-extra; extra == 'x'", "acme-windows; sys_platform == 'win32'"),
        make_sdist("acme-app", "1.0", "Requires-Dist: acme-sdist"),
        make_wheel("acme-app", "1.0", "Requires-Dist: acme-tag", tag="cp311-cp311-any"),
        *map(needing, ("acme-old", "acme-extra", "acme-windows", "acme-sdist", "acme-tag")),
    )
    harness.index.lifecycle.set_status(ALICE, parse_name("acme-old"), Status.ARCHIVED, "")

    assert set(named(harness, "acme-app")) == {
        *("acme-app", "acme-old", "acme-extra", "acme-windows", "acme-sdist", "acme-tag"),
    }


def test_cycles_of_needs_end(harness: IndexHarness) -> None:
    """Projects that need each other, or themselves, are named once."""
    publish(harness, needing("acme-a", "acme-b"), needing("acme-b", "acme-a", "acme-b"))

    assert named(harness, "acme-a") == ("acme-a", "acme-b")


def test_unreadable_projects_are_not_named(harness: IndexHarness) -> None:
    """A project that the caller may not read is not named, and cannot be asked for."""
    publish(
        harness,
        needing("acme-app", "pay-core", "acme-lib"),
        needing("pay-core", "acme-hidden"),
        *map(needing, ("acme-lib", "acme-hidden")),
    )
    reader = Caller("user:ana", (Scope(Action.READ, (parse_pattern("acme-*"),), (MAIN,)),))

    assert named(harness, "acme-app", caller=reader) == ("acme-app", "acme-lib")
    for name in ("pay-core", "acme-missing"):
        with pytest.raises(NotFound) as refused:
            named(harness, name, caller=reader)
        assert name in refused.value.message


def test_names_without_files(harness: IndexHarness) -> None:
    """A reserved name is private, and so is one that a pattern of the settings matches."""
    publish(harness, needing("acme-app", "acme-new", "reserved", "requests"))
    harness.index.names.reserve(ALICE, parse_name("reserved"), "")
    settings = Settings(access=AccessSettings(private_names=("acme-*",)))
    index = harness.opened(seed=3, settings=settings)

    named_projects = index.client_projects.read(ALICE, (parse_name("acme-app"),))

    assert named_projects.projects == ("acme-app", "acme-new", "reserved")


def test_lost_metadata_is_not_taken_for_no_needs(harness: IndexHarness) -> None:
    """What cannot be read is not taken for a file that needs nothing."""
    package = needing("acme-app", "acme-lib")
    publish(harness, package)
    key = keys.core_metadata(parse_name("acme-app"), package.sha256, package.filename)
    harness.store.delete(key)

    with pytest.raises(Unavailable) as refused:
        named(harness, "acme-app")

    assert code_of(refused.value) == ("Unavailable", "damaged_document")


def test_a_file_without_metadata_needs_nothing(harness: IndexHarness) -> None:
    """An old file that has no metadata names no other project, and keeps none from being named."""
    publish(harness, needing("demo", "acme-lib", version="2.0"), needing("acme-lib"))
    list_old_file(harness.index.uploads, EGG, harness.folder, harness.clock.now)

    assert named(harness, "demo") == ("demo", "acme-lib")


def test_beside_an_upstream_no_project_is_named(harness: IndexHarness) -> None:
    """Where public packages come from the same URL, no project has to be named."""
    index = harness.index
    reader = ClientProjectsReader(
        (index.projects,), index.files, (), is_local=True, has_upstream=True
    )

    named_projects = reader.read(ALICE, (parse_name("requests"),))

    assert (named_projects.serves_public, named_projects.projects) == (True, ())
