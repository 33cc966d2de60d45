"""What administrators do about people of a provider: end, admit, and release a name."""

import pytest

from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind
from tests.fake_time import START
from tests.operations.in_memory_index import IndexHarness
from tests.refused import refused
from wheelyard.catalog import keys
from wheelyard.errors import Invalid, NotFound, Unauthenticated, Unavailable
from wheelyard.model.grants import describe_event
from wheelyard.model.person import Person
from wheelyard.storage.base import Key

ANA = Person(provider="acme", subject="ana", name="ana@acme.dev", confirmed_at=START)
BO = Person(provider="acme", subject="bo", name="bo@acme.dev", confirmed_at=START)
ADMIN = "htpasswd:root"


@pytest.fixture
def index(harness: IndexHarness) -> IndexHarness:
    """An index with two people, each with a name."""
    for person in (ANA, BO):
        save(harness, person)
    return harness


def save(harness: IndexHarness, person: Person) -> None:
    """Store somebody who has just signed in."""
    people, names = harness.index.server.people, harness.index.catalog.person_names
    assert names.claim(person.provider, person.name, person.id)
    assert people.save(person, people.get_current(person.provider, person.id)) is not None


def stored(harness: IndexHarness, person: Person) -> Person:
    """Return the record of somebody."""
    record = harness.index.server.people.get_current(person.provider, person.id).value
    assert record is not None
    return record


def journal(harness: IndexHarness) -> list[str]:
    """Return the changes of rights in the store, in words."""
    commits = harness.index.server.access.records.history(0)
    return [describe_event(event) for commit in commits for event in commit.events]


def test_who_is_ended_and_admitted_again(
    index: IndexHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """The record of an ended person says when and by whom, until they are admitted again."""
    caplog.set_level("INFO")
    people = index.index.server.people_administration
    ended = people.end("acme", ANA.id, ADMIN)
    assert (ended.ended_at, ended.ended_by, ended.endings) == (START, ADMIN, 1)
    assert people.end("acme", ANA.id, "htpasswd:other") == ended  # the first one counts
    admitted = people.admit("acme", ANA.id, ADMIN)
    assert (admitted.ended_at, admitted.ended_by, admitted.endings) == (None, "", 1)
    assert people.admit("acme", ANA.id, ADMIN) == admitted
    assert [record.message.partition(",")[0] for record in caplog.records] == [
        f"person ended by {ADMIN}: oidc:acme:ana@acme.dev#{ANA.id}",
        f"person admitted by {ADMIN}: oidc:acme:ana@acme.dev#{ANA.id}",
    ]
    assert journal(index) == [
        f"ended the access of oidc:acme:ana@acme.dev#{ANA.id}",
        f"admitted again oidc:acme:ana@acme.dev#{ANA.id}",
    ]


@pytest.mark.parametrize(("provider", "person"), [("acme", "0" * 32), ("other", ANA.id)])
def test_nobody_is_not_found(index: IndexHarness, provider: str, person: str) -> None:
    """Only people who have signed in can be ended or admitted, and the others are named."""
    people = index.index.server.people_administration
    for change in (people.end, people.admit):
        with pytest.raises(NotFound, match=f"no person '{person}' of '{provider}'"):
            change(provider, person, ADMIN)
    assert journal(index) == []


def test_a_record_that_others_write_without_end(index: IndexHarness) -> None:
    """Who cannot be admitted, as others keep writing the record, stays ended, and that is said."""
    index.index.server.people_administration.end("acme", ANA.id, ADMIN)
    store = FakeStore(index.store, Fault(FaultKind.LOST_RACE, "put", "*/people/*", times=ALWAYS))
    people = index.opened(seed=2, store=store).server.people_administration

    with refused(Unavailable, "overloaded") as caught:
        people.admit("acme", ANA.id, ADMIN)

    assert "the record of a person" in caught.value.message
    assert stored(index, ANA).ended_by == ADMIN
    assert len(journal(index)) == 1


def test_a_note_of_two_lines_changes_nothing(index: IndexHarness) -> None:
    """A note that the journal cannot have is refused before anything is stored."""
    people = index.index.server.people_administration
    for change in (people.end, people.admit):
        with pytest.raises(Invalid):
            change("acme", ANA.id, ADMIN, "two\nlines")
    assert stored(index, ANA).ended_at is None
    assert journal(index) == []


def test_a_released_name_ends_who_has_it(index: IndexHarness) -> None:
    """The release of a name ends who has it, and the next person gets it."""
    people, names = index.index.server.people_administration, index.index.catalog.person_names
    assert not names.claim("acme", ANA.name, "another")
    ended = people.release_name("acme", "Ana@Acme.dev", ADMIN)
    assert ended is not None
    assert stored(index, ANA).ended_by == ADMIN
    assert stored(index, BO).ended_at is None
    assert names.claim("acme", ANA.name, "another")
    assert not names.claim("acme", ANA.name, ANA.id)
    assert journal(index) == [
        f"ended the access of oidc:acme:ana@acme.dev#{ANA.id}",
        "released the name of oidc:acme:ana@acme.dev",
    ]


def test_a_name_of_before_ends_nobody(index: IndexHarness) -> None:
    """The release of a name ends nobody who has another name by now."""
    people, names = index.index.server.people_administration, index.index.catalog.person_names
    assert names.claim("acme", "ana.b@acme.dev", ANA.id)
    records = index.index.server.people
    changed = Person(provider="acme", subject="ana", name="ana.b@acme.dev", confirmed_at=START)
    assert records.save(changed, records.get_current("acme", ANA.id)) is not None
    assert people.release_name("acme", "ana@acme.dev", ADMIN) is None
    assert stored(index, ANA).ended_at is None
    assert names.claim("acme", "ana@acme.dev", "another")


@pytest.mark.parametrize("name", ["cy@acme.dev", "ana@acme.dev"])
def test_a_name_of_nobody_is_not_found(index: IndexHarness, name: str) -> None:
    """A name that nobody has had, or that was released, is said to be nobody's."""
    people = index.index.server.people_administration
    if name == ANA.name:
        people.release_name("acme", name, ADMIN)
    with pytest.raises(NotFound) as missing:
        people.release_name("acme", name, ADMIN)
    assert "has the name" in missing.value.message


def test_a_late_release_takes_no_name_from_the_next_person(index: IndexHarness) -> None:
    """Of two administrators who release one name, the second does nothing to who has it by then."""
    names = index.index.catalog.person_names
    names.release("acme", ANA.name, ANA.id)
    assert names.claim("acme", ANA.name, "another")
    names.release("acme", ANA.name, ANA.id)
    assert names.holder("acme", ANA.name) == "another"


def test_a_name_that_is_lost_during_its_release(index: IndexHarness) -> None:
    """A name whose document goes while it is released is nobody's, and its holder is ended."""
    (claim,) = (
        Key(key)
        for key, body in index.snapshot(keys.PERSON_NAMES).items()
        if ANA.name.encode() in body
    )
    lost = Before(lambda: index.store.delete(claim), "get", claim, nth=2)
    people = index.opened(2, FakeStore(index.store, lost)).server.people_administration

    people.release_name("acme", ANA.name, ADMIN)

    assert stored(index, ANA).ended_by == ADMIN
    assert index.index.catalog.person_names.holder("acme", ANA.name) == ""


def test_two_who_end_each_other_at_once(index: IndexHarness) -> None:
    """Of two administrators who end each other on two servers, the first one stays."""
    names = {person.subject: person.principals for person in (ANA, BO)}
    people, access = index.index.server.people_administration, index.index.server.access
    people.end("acme", BO.id, ANA.principal, ended_by=names["ana"])
    with pytest.raises(Unauthenticated):
        people.end("acme", ANA.id, BO.principal, ended_by=names["bo"])
    with pytest.raises(Unauthenticated):
        access.end_person("htpasswd:cleo", BO.principal, ended_by=names["bo"])

    assert stored(index, ANA).ended_at is None
    assert stored(index, BO).ended_at == START
    assert len(journal(index)) == 1
