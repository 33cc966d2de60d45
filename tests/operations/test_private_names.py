"""Private names beside an upstream index: which they are, and how a name becomes one."""

import logging
from pathlib import Path

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.distributions import make_sdist, make_wheel
from tests.fake_store import FakeStore, Fault, FaultKind, ProcessCrash
from tests.operations.in_memory_index import ALICE, IndexHarness, code_of
from tests.operations.upstream_names import GuardedHarness, names_of
from wheelyard.catalog import keys
from wheelyard.errors import Forbidden, Unavailable, WheelyardError
from wheelyard.model.distribution_filename import parse_version
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import Settings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.storage.base import Key

DEMO = NormalizedName("demo")
ONE = Selection(parse_version("1.0"))


@pytest.fixture(params=["local", "remote"])
def guarded(tmp_path: Path, request: pytest.FixtureRequest) -> GuardedHarness:
    """An index in memory beside an upstream index that has the name `requests`."""
    return GuardedHarness(tmp_path, is_local=request.param == "local")


def test_an_unknown_name_is_not_private(guarded: GuardedHarness) -> None:
    """What nobody has published, reserved or named in the settings is looked up elsewhere."""
    assert not guarded.is_private("demo")


@pytest.mark.parametrize("name", ["acme-core", "acme-x-y"])
def test_a_pattern_makes_names_private(guarded: GuardedHarness, name: str) -> None:
    """A name that a pattern matches is private, and its upload asks nobody."""
    assert guarded.is_private(name)

    guarded.upload(make_wheel(name.replace("-", "_")))

    assert guarded.public.asked == []
    assert not guarded.is_private("acme")


def test_a_published_name_stays_private(guarded: GuardedHarness) -> None:
    """A name is private from its first file on, and after the last one was deleted."""
    guarded.upload(make_wheel())
    assert guarded.is_private("demo")
    guarded.public.asked.clear()

    guarded.index.lifecycle.change("delete", ALICE, DEMO, ONE, "")

    assert guarded.is_private("demo")
    assert guarded.names.is_private(DEMO)
    guarded.upload(make_wheel(version="2.0"))
    assert guarded.public.asked == []


def test_who_knows_no_upstream_makes_names_private_too(guarded: GuardedHarness) -> None:
    """A file that another process publishes without an upstream index is private at once."""
    reader = names_of(guarded.opened(seed=5))
    assert not reader.is_private(DEMO)
    faults = (Fault(FaultKind.CRASH, "put", keys.PROJECT_NAMES),)
    guarded.store = FakeStore(guarded.store, *faults)
    writer = replace(guarded.opened(seed=6).uploads, claims=None)

    with pytest.raises(ProcessCrash):
        writer.accept(make_wheel().arrival(guarded.folder), ALICE)

    assert reader.is_private(DEMO)


def test_a_name_is_claimed_before_its_first_commit(guarded: GuardedHarness) -> None:
    """A process that dies between claim and commit leaves a private project without files."""
    store = guarded.store
    guarded.store = FakeStore(store, Fault(FaultKind.CRASH, "put", "projects/*"))
    uploads = guarded.opened(seed=5).uploads

    with pytest.raises(ProcessCrash):
        uploads.accept(make_wheel().arrival(guarded.folder), ALICE)

    guarded.store = store
    assert guarded.is_private("demo")
    project = guarded.opened(seed=6).projects.get(DEMO)
    assert (project.files, project.revision) == ((), 0)
    guarded.public.is_down = True  # the name is private: nobody is asked about it again
    guarded.upload(make_wheel())
    assert len(guarded.index.projects.get(DEMO).files) == 1


def test_a_claim_that_fails_publishes_nothing(guarded: GuardedHarness) -> None:
    """If the name cannot be written into the list, the file is not published either."""
    guarded.store = FakeStore(guarded.store, Fault(FaultKind.NOT_DONE, "put", keys.PROJECT_NAMES))
    before = guarded.snapshot()

    with pytest.raises(Unavailable):
        guarded.opened(seed=5).uploads.accept(make_wheel().arrival(guarded.folder), ALICE)

    assert guarded.snapshot() == before


@pytest.mark.parametrize("is_down", [False, True])
def test_a_public_name_is_refused(
    guarded: GuardedHarness, caplog: pytest.LogCaptureFixture, *, is_down: bool
) -> None:
    """A name that the upstream has, or may have, is refused, and nothing of the file is kept."""
    caplog.set_level(logging.INFO, "wheelyard.audit")
    guarded.public.is_down = is_down
    before, wheel = guarded.snapshot(), make_wheel("requests")

    with pytest.raises(WheelyardError) as early:
        guarded.index.uploads.authorize(wheel.filename, ALICE)
    with pytest.raises(WheelyardError) as late:
        guarded.index.uploads.accept(wheel.arrival(guarded.folder), ALICE)

    expected = ("Unavailable", "upstream_unavailable") if is_down else ("Forbidden", "public_name")
    assert code_of(early.value) == code_of(late.value) == expected
    assert guarded.snapshot() == before
    said = [record.getMessage() for record in caplog.records if record.name == "wheelyard.audit"]
    assert said == ([] if is_down else ["name refused by local:alice: requests"] * 2)
    words = late.value.message.lower()
    assert not any(text in words for text in ("already", "exist", "overwrite", "taken"))


def test_the_name_becomes_public_during_the_upload(guarded: GuardedHarness) -> None:
    """The upstream is asked again after the file has arrived, right before the name is claimed."""
    wheel = make_wheel("fresh")
    guarded.index.uploads.authorize(wheel.filename, ALICE)
    guarded.public.names.add("fresh")

    with pytest.raises(Forbidden):
        guarded.index.uploads.accept(wheel.arrival(guarded.folder), ALICE)


def test_a_shadowed_name_may_be_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A name in `shadow` is claimed although it is public, and the log warns of it."""
    guarded = GuardedHarness(tmp_path, shadow=("requests",))

    arrival = make_wheel("requests").arrival(tmp_path)
    (warning,) = guarded.index.uploads.accept(arrival, ALICE).warnings

    assert warning.startswith("requests is private from now on")
    assert guarded.is_private("requests")
    assert guarded.public.asked == []
    assert guarded.public.forgotten == ["requests"]
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage() == (
        "name claimed by local:alice: requests, note in place of a public package"
    )


def test_without_the_check_any_name_may_be_taken(tmp_path: Path) -> None:
    """Without `check_upload` any name may be taken, nobody is asked, and there is no warning."""
    guarded = GuardedHarness(tmp_path, asks_upstream=False)

    arrival = make_wheel("requests").arrival(tmp_path)
    assert guarded.index.uploads.accept(arrival, ALICE).warnings == ()

    assert guarded.is_private("requests")
    assert guarded.public.asked == []


def test_one_claim_for_all_files_of_a_project(guarded: GuardedHarness) -> None:
    """The second file of a project neither asks the upstream nor writes the list of names."""
    guarded.upload(make_wheel())
    asked = len(guarded.public.asked)
    store = guarded.store = FakeStore(guarded.store)
    second = guarded.opened(seed=5)
    second.projects.get(DEMO)
    store.calls.clear()

    sdist = make_sdist()
    second.uploads.authorize(sdist.filename, ALICE)
    second.uploads.accept(sdist.arrival(guarded.folder), ALICE)

    assert len(guarded.public.asked) == asked
    assert [call for call in store.calls if call[1] == keys.PROJECT_NAMES] == []


@pytest.mark.parametrize("key", ["projects.json", "projects/demo.json"])
@pytest.mark.parametrize("kind", [FaultKind.NOT_DONE, FaultKind.TOO_OFTEN, None])
def test_silence_is_no_answer(guarded: GuardedHarness, key: str, kind: FaultKind | None) -> None:
    """If list or document cannot be read, or is damaged, the name is not taken for unknown."""
    if kind is None:
        guarded.store.put(Key(key), b"{", None)
    else:
        guarded.store = FakeStore(guarded.store, Fault(kind, "get", key, times=9))

    with pytest.raises(Unavailable):
        guarded.is_private("demo")


@pytest.mark.parametrize("key", ["projects.json", "projects/demo.json"])
def test_half_a_registry_is_enough(guarded: GuardedHarness, key: str) -> None:
    """A name is private if either the list of names or the project's document is lost."""
    guarded.upload(make_wheel())
    guarded.store.delete(Key(key))

    assert guarded.is_private("demo")


def test_an_empty_disk_says_nothing(guarded: GuardedHarness) -> None:
    """A store that is gone, as after its disk was unmounted, knows no unknown names."""
    reader = names_of(guarded.opened(seed=5))
    for entry in [*guarded.store.list("")]:
        guarded.store.delete(entry.key)

    with pytest.raises(Unavailable):
        reader.is_private(DEMO)


def test_what_was_private_stays_so_while_the_store_is_silent(guarded: GuardedHarness) -> None:
    """A name that was seen among the projects is private, whatever the store says now."""
    guarded.upload(make_wheel())
    guarded.index.lifecycle.change("delete", ALICE, DEMO, ONE, "")
    store = guarded.store = FakeStore(guarded.store)
    reader = names_of(guarded.opened(seed=5))
    assert reader.is_private(DEMO)

    store.follow(Fault(FaultKind.NOT_DONE, "get", times=99))

    assert reader.is_private(DEMO)
    with pytest.raises(Unavailable):
        reader.is_private(NormalizedName("other"))


def test_a_project_without_files_is_private_while_the_list_is_silent(
    guarded: GuardedHarness,
) -> None:
    """A name of which a process has read the document is private, without files and the list."""
    guarded.upload(make_wheel())
    guarded.index.lifecycle.change("delete", ALICE, DEMO, ONE, "")
    fault = Fault(FaultKind.NOT_DONE, "get", keys.PROJECT_NAMES, times=9)
    index = guarded.opened(seed=5, store=FakeStore(guarded.store, fault))
    index.projects.documents.get(keys.project(DEMO))

    assert names_of(index).is_private(DEMO)


def test_another_process_sees_a_claim_at_once(guarded: GuardedHarness) -> None:
    """That a name is unknown is never remembered: the next question sees what others have done."""
    reader = names_of(guarded.opened(seed=5))
    assert not reader.is_private(DEMO)

    guarded.upload(make_wheel())

    assert reader.is_private(DEMO)


def test_two_processes_can_publish_a_new_name_at_once(guarded: GuardedHarness) -> None:
    """Two processes that publish the same new name at the same time both succeed."""
    one, two = guarded.opened(seed=5), guarded.opened(seed=6)
    wheel, sdist = make_wheel(), make_sdist()
    for uploads, made in ((one.uploads, wheel), (two.uploads, sdist)):
        uploads.authorize(made.filename, ALICE)

    one.uploads.accept(wheel.arrival(guarded.folder), ALICE)
    two.uploads.accept(sdist.arrival(guarded.folder), ALICE)

    assert len(guarded.opened(seed=7).projects.get(DEMO).files) == 2


@pytest.mark.parametrize("layers", [["dev"], ["upstream"], [""]])
def test_names_of_a_layer_stay_private_whatever_it_shows(tmp_path: Path, layers: list[str]) -> None:
    """What a layer has published never comes from upstream, also if the layer hides it later."""
    upstream = UpstreamSettings(enabled=True, url="https://index.example/", check_upload=False)
    index = IndexHarness(tmp_path).opened(3, settings=Settings(upstream=upstream))
    administration = index.server.index_administration
    administration.add({"name": "dev"}, "local:test")
    administration.add({"name": "prod", "layers": ["dev", "upstream"]}, "local:test")
    index.named("dev").uploads.accept(make_wheel().arrival(tmp_path), ALICE)

    administration.change("dev", {"layers": layers}, "local:test")

    for name in ("dev", "prod"):
        names = index.named(name).private_names
        assert names is not None
        assert names.is_private(DEMO)
        assert not names.is_private(NormalizedName("other"))
