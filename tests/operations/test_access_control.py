"""Grants and groups in the store: changes, refusals, crashes, history, and the check of them."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from tests.advice import texts_of
from tests.fake_store import ALWAYS, After, Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.fake_time import START
from tests.operations.in_memory_index import IndexHarness
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Invalid, NotFound, Unavailable
from wheelyard.model.access import Action
from wheelyard.model.grants import (
    AccessRules,
    AnyAccessEvent,
    Granted,
    GrantFields,
    GroupChanged,
    RightsNameIndex,
    describe_event,
)
from wheelyard.model.stored_indexes import IndexMade
from wheelyard.operations.access_control import AccessControl
from wheelyard.settings.sections import AccessSettings, Settings

CORE = NormalizedName("acme-core")
ANA, BO = "htpasswd:ana", "user:bo@acme.dev"


def grant(*who: str, **changes: tuple[str, ...] | str) -> GrantFields:
    """Return a grant to read acme-core that differs in these fields."""
    fields = {"projects": ("acme-core",), "actions": ("read",), **changes}
    return GrantFields(who=who, **fields)  # type: ignore[arg-type]


def access_of(
    harness: IndexHarness, *faults: Fault, private: bool = False, seed: int = 3
) -> AccessControl:
    """Return the grants as another process sees them, whose store has faults."""
    settings = Settings(access=AccessSettings(private=private))
    return harness.opened(seed, FakeStore(harness.store, *faults), settings).server.access


@pytest.fixture
def access(harness: IndexHarness) -> AccessControl:
    """The grants of the index."""
    return access_of(harness)


def may(access: AccessControl, who: str, action: Action = Action.READ, on: str = CORE) -> bool:
    """Return whether somebody may do something to a project."""
    scopes = access.load().scopes_of([who])
    return any(scope.permits(action, NormalizedName(on)) for scope in scopes)


def history(access: AccessControl) -> list[str]:
    """Return the changes in words."""
    return [describe_event(event) for commit in access.records.history() for event in commit.events]


def test_grant_that_is_revoked_at_the_same_time(harness: IndexHarness) -> None:
    """Whoever makes a grant that somebody else revokes at the same moment is told so."""
    other, ids = access_of(harness), list[str]()

    def revoke() -> None:
        for granted in other.show().grants:
            ids.append(granted.id)
            other.revoke(granted.id, by="local:bo")

    step = Before(revoke, "get", keys.ACCESS, times=ALWAYS)
    index = harness.opened(5, FakeStore(harness.store, step))
    added = index.server.add_grant(grant(BO), by="local:ana")

    assert ([added.id], texts_of(added.warnings)) == (ids, ["it has been revoked meanwhile"])
    assert added.text == f"{BO} may read {CORE} in the index main"


def test_they_add_up(harness: IndexHarness, access: AccessControl) -> None:
    """Grants and members of groups add up, in every process."""
    other = access_of(harness)
    access.edit_group("set", "ops", [ANA], by="local:ana")
    access.grant(grant("group:ops", projects=("ops-*",), actions=("upload",)), by="local:ana")
    assert not may(other, BO)

    first = access.grant(grant(BO, note="on duty"), by="local:ana")
    access.edit_group("add", "ops", [BO], by="local:ana")
    second = access.grant(grant("group:ops", actions=("manage",)), by="local:ana")

    assert may(other, BO)
    assert may(other, BO, Action.UPLOAD, "ops-tools")
    assert may(other, ANA, Action.MANAGE)
    access.revoke(second, by="local:ana", note="done")
    access.edit_group("remove", "ops", [BO], by="local:ana")
    assert may(other, BO)
    assert not may(other, BO, Action.UPLOAD, "ops-tools")
    assert not may(other, ANA)
    access.revoke(first, by="local:bo")
    assert not may(other, BO)
    assert may(other, ANA, Action.UPLOAD, "ops-tools")
    assert history(other)[2:] == [
        f"granted {first}: {BO} may read acme-core in the index main (on duty)",
        f"group ops: added {BO}",
        f"granted {second}: group:ops may read, upload to and manage acme-core in the index main",
        f"revoked {second} (done)",
        f"group ops: removed {BO}",
        f"revoked {first}",
    ]
    assert {(commit.event.at, commit.event.by) for commit in other.records.history()} == {
        (START, "local:ana"),
        (START, "local:bo"),
    }


def test_the_list_says_where_each_grant_is_from(access: AccessControl) -> None:
    """The list says of each grant and group from which file it is, if it is from one."""
    made = access.grant(grant(BO), by="local:ana")
    access.edit_group("set", "ops", [BO], by="local:ana")
    applied: tuple[AnyAccessEvent, ...] = (
        Granted(at=START, by="local:bo", id="g1", grant=grant(ANA), source="prod.toml"),
        GroupChanged(at=START, by="local:bo", name="team", added=(ANA,), source="prod.toml"),
    )
    access.records.change(lambda _: applied)

    shown = access.show()

    assert [(each.id, each.source, each.created_by) for each in shown.grants] == [
        (made, "", "local:ana"),
        ("g1", "prod.toml", "local:bo"),
    ]
    assert [(group.name, group.source, group.members) for group in shown.groups] == [
        ("ops", "", (BO,)),
        ("team", "prod.toml", (ANA,)),
    ]


def test_anybody_may_have_a_grant_unless_all_is_private(harness: IndexHarness) -> None:
    """A grant to everybody gives nobody anything where `access.private` is set, and stays."""
    open_server, private = access_of(harness), access_of(harness, private=True, seed=4)
    open_server.grant(grant("anonymous", BO), by="local:ana")

    assert may(open_server, "anonymous")
    assert not may(private, "anonymous")
    assert may(private, BO)
    assert [each.who for each in private.show().grants] == [("anonymous", BO)]


def test_nothing_to_do(access: AccessControl) -> None:
    """An equal grant has the id of the first, and a change without effect is not recorded."""
    made = access.grant(grant(ANA, BO, projects=("Acme_Core", "acme-core")), by="local:ana")
    assert access.grant(grant(BO, ANA), by="local:bo") == made
    access.edit_group("set", "team", [], by="local:ana")
    access.edit_group("set", "team", [], by="local:ana")
    access.edit_group("add", "team", [ANA], by="local:ana")
    access.edit_group("add", "team", [ANA], by="local:ana")
    access.mark()
    access.mark()

    *changes, mark = history(access)[1:]
    assert changes == ["group team: made", f"group team: added {ANA}"]
    assert mark == describe_event(RightsNameIndex(at=START, by="upgrade"))


@pytest.mark.parametrize("way", ["grant", "member", "set", "deletion"])
def test_nobody_gives_up_administration_unaware(access: AccessControl, way: str) -> None:
    """Nobody loses the right to administer by a change of their own, unless they want it."""
    keep = frozenset({ANA, "anonymous"})
    access.edit_group("set", "chiefs", [ANA], BO)
    grant_id = access.grant(grant("group:chiefs", projects=("*",), actions=("admin",)), BO)

    def change(keep_admin: frozenset[str]) -> None:
        if way == "grant":
            access.revoke(grant_id, ANA, "", keep_admin)
        elif way == "member":
            access.edit_group("remove", "chiefs", [ANA], ANA, "", keep_admin)
        elif way == "set":
            access.edit_group("set", "chiefs", [BO], ANA, "", keep_admin)
        else:
            other = access.grant(grant(BO, projects=("*",), actions=("admin",)), BO)
            access.revoke(other, ANA, "", keep_admin)  # that of somebody else
            access.revoke(grant_id, ANA, "", keep_admin)

    with pytest.raises(Conflict) as refused:
        change(keep)

    assert refused.value.code == "own_access"
    assert may(access, ANA, Action.ADMIN)
    access.grant(grant(ANA, projects=("*",), actions=("admin",)), BO)
    change(keep)  # the other grant remains
    assert may(access, ANA, Action.ADMIN)


def test_a_group_that_went(harness: IndexHarness, access: AccessControl) -> None:
    """A grant to a group that is not there any more is for nobody."""
    made = Granted(at=START, by="local:ana", id="g1", grant=grant("group:ops"))
    access.records.change(lambda _: (made,))

    other = access_of(harness, seed=4)

    assert not may(other, ANA)
    assert [each.id for each in other.show().grants] == ["g1"]


def test_two_at_once(harness: IndexHarness, access: AccessControl) -> None:
    """Of two changes at the same time none is lost: the second is made again on top."""
    other, seen = access_of(harness, seed=4), list[int]()

    def change(rules: AccessRules) -> tuple[AnyAccessEvent, ...]:
        seen.append(rules.revision)
        if len(seen) == 1:
            other.grant(grant(BO), by="local:bo")
        return (GroupChanged(at=START, by="local:ana", name="team", added=(ANA,)),)

    after = access.records.change(change).after

    assert seen == [0, 1]
    assert (len(after.grants), list(after.groups)) == (1, ["team"])
    assert len(history(access)) == 2


@pytest.mark.parametrize("kind", [FaultKind.CRASH, FaultKind.CRASH_AFTER])
@pytest.mark.parametrize("verb_key", [keys.ACCESS, keys.numbered_entry(keys.ACCESS_JOURNAL, 1)])
def test_grant_is_whole_after_crash(harness: IndexHarness, kind: FaultKind, verb_key: str) -> None:
    """After a crash at any write, the grant is there whole or not at all, and so is its entry."""
    with pytest.raises(ProcessCrash):
        access_of(harness, Fault(kind, "put", verb_key)).grant(grant(BO), by="local:ana")

    other = access_of(harness, seed=4)
    expected = kind is FaultKind.CRASH_AFTER or verb_key != keys.ACCESS
    assert may(other, BO) is expected
    assert len(history(other)) == expected
    other.grant(grant(ANA), by="local:bo")
    assert [commit.number for commit in other.records.history()] == list(range(1, expected + 2))
    assert harness.check().problems == []


def test_a_write_whose_answer_was_lost_is_found(harness: IndexHarness) -> None:
    """A write whose answer was lost is found again; one whose outcome is unknown is an error."""
    fault = Fault(FaultKind.DONE, "put", keys.ACCESS)
    for _ in range(2):
        made = access_of(harness, fault, seed=6).grant(grant(BO), by="local:ana")
        access_of(harness, fault, seed=5).revoke(made, by="local:ana")
    made = access_of(harness).grant(grant(BO), by="local:ana")
    fault = Fault(FaultKind.NOT_DONE, "put", keys.ACCESS)
    with pytest.raises(Unavailable):
        access_of(harness, fault, seed=4).revoke(made, by="local:ana")
    fault = Fault(FaultKind.LOST_RACE, "put", keys.ACCESS, times=3)
    access_of(harness, fault, seed=4).revoke(made, by="local:ana")
    assert len(history(access_of(harness))) == 6


def test_a_lost_answer_and_another_change(harness: IndexHarness, access: AccessControl) -> None:
    """A change whose answer was lost is found in the journal if another one has followed."""
    made = access.grant(grant(BO), by="local:ana")
    overtake = After(
        lambda: access.edit_group("set", "team", [], by="local:bo"), "put", keys.ACCESS
    )
    store = FakeStore(harness.store, overtake, Fault(FaultKind.DONE, "put", keys.ACCESS))

    harness.opened(8, store).server.access.revoke(made, by="local:ana")

    assert history(access)[1:] == [f"revoked {made}", "group team: made"]


def test_during_an_outage_no_rights_are_known(harness: IndexHarness, access: AccessControl) -> None:
    """While the store does not answer, no rights are known, instead of some."""
    access.grant(grant(BO), by="local:ana")
    with pytest.raises(Unavailable):
        access_of(harness, Fault(FaultKind.NOT_DONE, "get", keys.ACCESS)).load()


@pytest.mark.parametrize("key", [keys.ACCESS, keys.INDEX_LIST])
def test_a_server_starts_without_its_grants(harness: IndexHarness, key: str) -> None:
    """What cannot be read at the start stops no server, and is asked for by the requests."""
    started = access_of(harness, Fault(FaultKind.NOT_DONE, "get", key))
    access_of(harness, seed=4).grant(grant(BO), by="local:ana")

    started.read_ahead(may_become_ambiguous=False)

    assert may(started, BO)
    assert not started.is_main_ambiguous()


def test_a_right_that_is_taken_away_after_the_start_is_gone(harness: IndexHarness) -> None:
    """What a server with a bucket has read at its start gives no right that was revoked since."""
    other = access_of(harness, seed=4)
    made = other.grant(grant(BO), by="local:ana")
    started = harness.opened(3, is_local=False).server.access
    started.read_ahead(may_become_ambiguous=False)
    other.revoke(made, by="local:ana")

    assert not may(started, BO)


def test_an_index_that_an_earlier_version_makes_after_the_start(harness: IndexHarness) -> None:
    """At its start on an older store, a server takes no look at the list of indexes for final."""
    access = access_of(harness)
    access.read_ahead(may_become_ambiguous=True)
    made = IndexMade(at=START, by="local:ana", keys={"name": "main"})
    harness.index.catalog.index_records.change(lambda _: (made,))

    assert access.is_main_ambiguous()


def test_check_mends_grants_and_their_journal(harness: IndexHarness, access: AccessControl) -> None:
    """The check mends document and journal of the grants, as those of a project."""
    access.grant(grant(BO), by="local:ana")
    older = harness.bytes_at(keys.ACCESS)
    access.edit_group("set", "team", [ANA], by="local:ana")
    assert (harness.check().problems, harness.check().notes) == ([], [])
    whole = harness.bytes_at(keys.ACCESS)
    harness.store.delete(keys.numbered_entry(keys.ACCESS_JOURNAL, 2))
    assert harness.check().repaired == [f"{keys.ACCESS}: journal entry 2 written"]

    for damage in (b"?", older):
        harness.store.put(keys.ACCESS, damage, None)
        (problem,) = harness.check().problems
        assert "servers may refuse callers who have a grant; fold it again with --reb" in problem
        assert harness.check(rebuild=True).repaired
        assert harness.bytes_at(keys.ACCESS) == whole


def test_what_was_revoked_stays_so_if_an_earlier_document_is_put_back(
    harness: IndexHarness, access: AccessControl
) -> None:
    """Neither a running process nor a new one takes grants that are older than the journal."""
    granted = access.grant(grant(BO), by="local:ana")
    older = harness.bytes_at(keys.ACCESS)
    access.revoke(granted, by="local:ana")
    harness.store.put(keys.ACCESS, older, None)

    for process in (access, access_of(harness, seed=4)):
        with pytest.raises(Unavailable, match="is older than its journal"):
            process.load()
        with pytest.raises(Unavailable, match="is older than its journal"):
            process.grant(grant("htpasswd:eve"), by="local:eve")
    assert harness.check(rebuild=True).repaired
    assert access.show().grants == ()


def test_lost_grants_are_not_taken_for_none(harness: IndexHarness, access: AccessControl) -> None:
    """If the document is lost, whoever was shut out stays out, and nothing is shown or changed."""
    access.end_person("user:eve@acme.dev", by="local:ana")
    harness.store.delete(keys.ACCESS)

    for process in (access, access_of(harness, seed=4)):
        assert process.peek() is None
        with pytest.raises(Unavailable, match=r"lost|gone"):
            process.load()
        assert process.peek() is None
        with pytest.raises(Unavailable, match=r"lost|gone"):
            process.show()
        with pytest.raises(Unavailable, match=r"lost|gone"):
            process.grant(grant(BO), by="local:ana")
    assert harness.store.get(keys.ACCESS) is None
    assert harness.check(rebuild=True).repaired
    assert access.load().ended


PRINCIPALS = st.lists(st.sampled_from([ANA, BO, "static:ci"]), min_size=1, max_size=2)
GRANTEES = st.one_of(PRINCIPALS, st.sampled_from([["group:a"], ["group:ops"]]))
CHANGES = st.one_of(
    st.tuples(st.just("grant"), st.tuples(GRANTEES.map(lambda who: grant(*who)))),
    st.tuples(st.just("revoke"), st.tuples(st.integers(0, 2))),
    st.tuples(
        st.just("edit_group"),
        st.tuples(st.sampled_from(["set", "add", "remove", "delete"]), st.just("a"), PRINCIPALS),
    ),
)


@given(st.lists(st.tuples(st.booleans(), CHANGES), min_size=6, max_size=10))
@settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_any_changes_leave_a_document_that_is_its_journal(
    tmp_path: Path, changes: list[tuple[bool, tuple[str, tuple[object, ...]]]]
) -> None:
    """Whatever two processes change in turn, the document is what the journal says."""
    harness = IndexHarness(tmp_path)
    processes = access_of(harness, seed=5), access_of(harness, seed=6)
    for is_second, (name, arguments) in changes:
        access = processes[is_second]
        ids = [each.id for each in access.show().grants]
        # a grant to revoke is drawn as its place in the list
        chosen = [
            [*ids, "g0"][min(argument, len(ids))] if isinstance(argument, int) else argument
            for argument in arguments
        ]
        with suppress(NotFound, Conflict, Invalid):
            getattr(access, name)(*chosen, by="local:ana")
    assert processes[0].load() == processes[1].load()
    assert (harness.check().problems, harness.check().repaired) == ([], [])
    revision = (processes[0].records.get().value or AccessRules()).revision
    assert revision == len(history(processes[1]))


def test_no_grants_are_answered_from_memory(access: AccessControl) -> None:
    """Once a server has looked for grants and found none, its memory answers who may do what."""
    assert access.peek() is None
    assert access.load().all == ()

    remembered = access.peek()

    assert remembered is not None
    assert remembered.all == ()
