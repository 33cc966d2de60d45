"""Public projects in the search index: beside the private ones, and never in their place."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.fake_store import ALWAYS, Fault, FaultKind
from tests.operations.in_memory_index import ALICE
from tests.operations.search.test_search_index import Machine, Process, after_reading
from wheelyard.catalog import keys
from wheelyard.errors import Unavailable
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.search import search_index
from wheelyard.operations.search.search_index import SAVE_SECONDS
from wheelyard.rendering.project_facts import ProjectFacts, name_facts


@dataclass
class Listed:
    """Some public projects, each with the version of its facts."""

    projects: dict[str, str]
    hidden: frozenset[str] = frozenset()
    """Names that the settings do not allow."""
    is_broken: bool = False
    reads: list[str] = field(default_factory=list)
    """What was read."""

    def may_show(self, name: NormalizedName) -> bool:
        """See `PublicProjects`."""
        return name not in self.hidden

    def versions(self) -> dict[NormalizedName, str]:
        """See `PublicProjects`."""
        if self.is_broken:
            raise Unavailable("The bucket does not answer.")
        return {
            NormalizedName(name): f"pypi {version}"
            for name, version in self.projects.items()
            if name not in self.hidden
        }

    def read(
        self, versions: Collection[tuple[NormalizedName, str]]
    ) -> dict[NormalizedName, ProjectFacts | None]:
        """See `PublicProjects`."""
        self.reads += [name for name, _ in versions]
        return {
            name: replace(
                name_facts(name), version=self.projects[name], origin="pypi", document=version
            )
            for name, version in versions
        }


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Processes that do not wait for a refresh, as with many projects."""
    monkeypatch.setattr(search_index, "WAIT_SECONDS", 0)
    return Machine(tmp_path)


def beside(machine: Machine, public: Listed, *, is_local: bool = True) -> Process:
    """Return a process that has public projects, too."""
    process = machine.process(is_local=is_local)
    process.index.search.public = public
    return process


def later(process: Process, machine: Machine) -> dict[str, str]:
    """Return what is known after the next refresh."""
    machine.clock.advance(seconds=SAVE_SECONDS)
    return process.refreshed()


def origins(process: Process) -> dict[str, str]:
    """Return where each project is from."""
    return {project.name: project.origin for project in process.index.search.table().projects}


def test_both_are_found(machine: Machine) -> None:
    """Private and public projects are in one table; only what has changed is read again."""
    public = Listed({"idna": "1", "rich": "1"})
    process = beside(machine, public)
    process.publish("acme")
    assert process.refreshed() == {"acme": "1.0", "idna": "1", "rich": "1"}
    assert origins(process) == {"acme": "", "idna": "pypi", "rich": "pypi"}

    public.projects = {"idna": "2", "uv": "1"}
    public.reads.clear()
    assert later(process, machine) == {"acme": "1.0", "idna": "2", "uv": "1"}
    assert sorted(public.reads) == ["idna", "uv"]


def test_another_process_begins_with_them(machine: Machine) -> None:
    """The stored table has public projects; one that the settings hide now is not shown from it."""
    public = Listed({"idna": "1", "team-x": "1"})
    first = beside(machine, public)
    first.publish("acme")
    first.refreshed()

    same = beside(machine, Listed(public.projects))
    assert same.known() == {"acme": "1.0", "idna": "1", "team-x": "1"}
    other = beside(machine, Listed(public.projects, hidden=frozenset({"team-x"})))
    assert other.known() == other.refreshed() == {"acme": "1.0", "idna": "1"}
    assert other.index.search.public.reads == []  # type: ignore[union-attr]
    assert machine.process().known() == machine.process().refreshed() == {"acme": "1.0"}


def test_a_store_that_fails_between_table_and_names(machine: Machine) -> None:
    """What the settings hide is not shown after the list of names could not be read, either."""
    first = beside(machine, Listed({"team-x": "1"}))
    first.publish("acme")
    first.refreshed()
    other = beside(machine, Listed({}, hidden=frozenset({"team-x"})))
    other.store.follow(Fault(FaultKind.NOT_DONE, nth=2, times=ALWAYS))

    with pytest.raises(Unavailable):
        other.known()
    other.store.follow()

    assert other.known() == {"acme": "1.0"}


def test_a_private_name_wins(machine: Machine) -> None:
    """A name that is published is private, here at once, and stays so after all files are gone."""
    process = beside(machine, Listed({"idna": "1", "rich": "1"}))
    process.publish("acme")
    process.refreshed()

    process.publish("idna", "9.0")
    machine.process().publish("rich", "9.0")
    assert process.known()["idna"] == "9.0"
    assert origins(process)["idna"] == ""
    assert later(process, machine) == {"acme": "1.0", "idna": "9.0", "rich": "9.0"}
    assert set(origins(process).values()) == {""}
    selection = Selection(parse_version("9.0"))
    process.index.lifecycle.change("delete", ALICE, parse_name("idna"), selection, "")
    assert later(process, machine) == {"acme": "1.0", "idna": "", "rich": "9.0"}
    assert set(origins(process).values()) == {""}


def test_a_listed_name_is_private(machine: Machine) -> None:
    """A name in the list of private ones is not public, also before its first file is there."""
    process = beside(machine, Listed({"idna": "1"}))
    process.refreshed()
    machine.process().index.projects.names.ensure(parse_name("idna"))

    assert "pypi" not in origins(beside(machine, Listed({"idna": "1"}))).values()
    assert later(process, machine) == {}


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_name_that_lost_its_place_in_the_list(
    machine: Machine, *, is_damaged: bool, is_stored: bool
) -> None:
    """A name that has a document is not public, whatever the list of names says."""
    process = beside(machine, Listed({"idna": "1"}), is_local=False)
    process.publish("idna", "9.0")
    if is_stored:
        assert process.refreshed() == {"idna": "9.0"}
    machine.store.put(keys.PROJECT_NAMES, b'{"names":[]}\n', None)
    if is_damaged:
        machine.store.put(keys.project(parse_name("idna")), b"{", None)
    other = beside(machine, Listed({"idna": "1"}), is_local=False)

    assert other.refreshed() == {}


def test_a_released_name(machine: Machine) -> None:
    """After a private name was released, the public project of that name is found."""
    process = beside(machine, Listed({"idna": "1"}))
    process.publish("idna", "9.0")
    selection = Selection(parse_version("9.0"))
    process.index.lifecycle.change("delete", ALICE, parse_name("idna"), selection, "")
    assert process.refreshed() == {"idna": ""}
    process.index.names.release(ALICE, parse_name("idna"), "")

    assert later(process, machine) == {"idna": "1"}
    assert origins(process) == {"idna": "pypi"}


def test_published_during_a_refresh(machine: Machine) -> None:
    """A name that becomes private while public projects are read is private after that."""
    public = Listed({"idna": "1", "rich": "1"})
    process = beside(machine, public)
    process.publish("acme")
    process.known()
    read = public.read

    def slow(
        versions: Collection[tuple[NormalizedName, str]],
    ) -> dict[NormalizedName, ProjectFacts | None]:
        facts = read(versions)
        process.publish("idna", "9.0")
        assert process.known()["idna"] == "9.0"
        return facts

    public.read = slow  # type: ignore[method-assign]
    process.work()
    assert process.known() == {"acme": "1.0", "idna": "9.0", "rich": "1"}
    assert origins(process)["idna"] == ""


def test_published_while_documents_are_read(machine: Machine) -> None:
    """A name that becomes private while a refresh reads private projects is private after it."""
    process = beside(machine, Listed({"idna": "1"}))
    process.publish("acme")
    process.known()

    def publish() -> None:
        process.publish("idna", "9.0")
        assert process.known()["idna"] == "9.0"

    with after_reading(publish):
        process.work()
    assert process.known() == {"acme": "1.0", "idna": "9.0"}
    assert set(origins(process).values()) == {""}


def test_public_projects_that_cannot_be_listed(machine: Machine) -> None:
    """While the bucket of public packages does not answer, private ones are kept up to date."""
    public = Listed({"idna": "1"})
    process = beside(machine, public)
    process.refreshed()
    public.is_broken = True
    machine.process().publish("acme")

    assert later(process, machine) == {"acme": "1.0", "idna": "1"}
    assert machine.process().known() == {"acme": "1.0"}  # it was stored, too
    public.is_broken, public.projects = False, {}
    assert later(process, machine) == {"acme": "1.0"}
