"""Files that describe the index: what they change, in which order, and what they leave alone."""

import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.refused import refused
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Invalid, Unavailable
from wheelyard.model.grants import GrantFields
from wheelyard.model.index_file import TABLES, IndexTables, joined, read_tables, to_toml
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import IndexMade
from wheelyard.operations.applied_files import AppliedFiles
from wheelyard.operations.applying import Applying, ApplyOptions, ApplyReport, SourcedTables
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.storage.base import Key
from wheelyard.wiring.index import Index

BO: Final = "local:bo"
AGAIN: Final = ApplyOptions(again=True)
PRUNE: Final = ApplyOptions(prune=True)
CLOSED: Final = '[[index]]\nname = "dev"\nread = "granted"\n'
PUBLISHER: Final = """
[[publisher]]
id = "core"
provider = "gitlab"
projects = ["acme-core"]
project_path = "acme/core"
project_id = 1
namespace_id = 2
index = "dev"
"""
PRIVATE_ISSUER: Final = """
[[publisher]]
id = "k8s"
provider = "oidc"
issuer = "https://10.0.0.1"
projects = ["acme-core"]
match = { sub = "system:serviceaccount:ci:publisher" }
"""
TEAM: Final = f"""
[[index]]
name = "dev"
read = "anyone"

[[index]]
name = "prod"
layers = ["prod", "dev"]
promote_from = ["dev"]

[groups]
team = ["htpasswd:ana", "user:bo@acme.dev"]

[[grant]]
who = ["group:team"]
projects = ["acme-*"]
actions = ["upload"]
index = "dev"
{PUBLISHER}
[[retention]]
index = "dev"
keep_last = 3
only = "dev"
"""
CIRCLE: Final = '[[index]]\nname = "a"\nlayers = ["b"]\n[[index]]\nname = "b"\nlayers = ["a"]\n'


def tables_in(text: str) -> IndexTables:
    """Return what the text of a file says."""
    return read_tables(tomllib.loads(text), ())


def put(
    index: Index,
    text: str,
    options: ApplyOptions | None = None,
    *,
    source: str = "team.toml",
    keep_admin: frozenset[str] = frozenset(),
) -> ApplyReport:
    """Apply a file, and return what it has changed."""
    file = SourcedTables(source, tables_in(text))
    reports = index.server.applying.apply([file], BO, options or ApplyOptions(), keep_admin)
    return reports[0]


def changes(report: ApplyReport) -> list[tuple[str, str, str]]:
    """Return the changes of a report, without the random ids of grants."""
    return [
        (change.outcome, change.kind, "" if change.kind == "grant" else change.name)
        for change in report.changes
    ]


def test_a_file_is_put_into_force_and_again_changes_nothing(harness: IndexHarness) -> None:
    """A file makes its indexes, groups, grants and publishers, and the second time nothing."""
    first = put(harness.index, TEAM)
    before = harness.snapshot()
    second = put(harness.opened(seed=5), TEAM)

    assert changes(first) == [
        ("added", "index", "dev"),
        ("added", "index", "prod"),
        ("added", "retention", "rules"),
        ("added", "publisher", "core"),
        ("added", "group", "team"),
        ("added", "grant", ""),
    ]
    assert first.is_done
    assert [(one.index, one.before, one.after) for one in first.anonymous] == [
        ("dev", "nothing", "everything")
    ]
    assert (second.changes, second.is_done) == ((), True)
    assert harness.snapshot() == before


def test_a_grant_to_anybody_is_told(harness: IndexHarness) -> None:
    """A file that lets anybody read some projects of a closed index says which, and for whom."""
    opened = '[[grant]]\nwho = ["anonymous"]\nactions = ["read"]\nindex = "dev"\nprojects = '
    put(harness.index, CLOSED)

    put(harness.index, f'{CLOSED}{opened}["acme-*"]')

    report = put(harness.index, f'{CLOSED}{opened}["acme-*"]\n{opened}["demo"]')

    (access,) = report.anonymous
    assert (access.index, access.before, access.after) == ("dev", "acme-*", "acme-*, demo")


def test_another_note_of_a_grant_is_a_change(harness: IndexHarness) -> None:
    """A grant whose note alone differs keeps its id, and the report says that it has changed."""
    grant = '[[grant]]\nwho = ["htpasswd:ana"]\nprojects = ["*"]\nactions = ["read"]\nnote = '
    put(harness.index, f'{grant}"for the move"')
    (before,) = harness.index.server.access.show().grants

    report = put(harness.index, f'{grant}"for good"')

    (after,) = harness.index.server.access.show().grants
    assert (after.id, after.note) == (before.id, "for good")
    (change,) = report.changes
    assert (change.outcome, change.kind, change.name) == ("changed", "grant", before.id)


def test_no_file_opens_an_index_that_the_settings_close(harness: IndexHarness) -> None:
    """Where the settings close all indexes, no change is said to let anonymous readers in."""
    private = Settings(access=AccessSettings(private=True))

    report = put(harness.opened(seed=5, settings=private), TEAM)

    assert (report.is_done, report.anonymous) == (True, ())


def test_a_grant_that_a_file_has_twice_is_one_grant(harness: IndexHarness) -> None:
    """A grant that is in a file twice, in whatever order of its projects, is added once."""
    grant = '[[grant]]\nwho = ["user:bo@acme.dev"]\nactions = ["read"]\nprojects = '

    report = put(harness.index, f'{grant}["a", "b"]\n{grant}["b", "a"]\n')

    assert changes(report) == [("added", "grant", "")]
    assert len(harness.index.server.access.read_stored().grants) == 1


def test_a_dry_run_tells_the_same_and_writes_nothing(harness: IndexHarness) -> None:
    """A dry run says what would change, and the store stays as it is."""
    before = harness.snapshot()
    shown = put(harness.index, TEAM, ApplyOptions(dry_run=True))

    assert harness.snapshot() == before
    assert not shown.is_done
    assert changes(shown) == changes(put(harness.index, TEAM))


def test_what_was_revoked_by_hand_stays_revoked(harness: IndexHarness) -> None:
    """A file gives back what was revoked by hand only if asked again, and says what differs."""
    put(harness.index, TEAM)
    server = harness.index.server
    (grant,) = server.access.show().grants
    server.access.revoke(grant.id, BO)

    kept = put(harness.index, TEAM)
    assert changes(kept) == [("added", "grant", "")]
    assert (kept.is_done, kept.applied is not None) == (False, True)
    assert not server.access.show().grants

    assert put(harness.index, TEAM, AGAIN).is_done
    assert server.access.show().grants


def test_other_content_is_applied_whole(harness: IndexHarness) -> None:
    """A file that says something new also gives back what was changed by hand."""
    put(harness.index, TEAM)
    harness.index.server.access.edit_group("remove", "team", ["htpasswd:ana"], BO)

    report = put(harness.index, TEAM + '[[index]]\nname = "lab"\n')

    assert changes(report) == [("added", "index", "lab"), ("changed", "group", "team")]
    assert harness.index.server.access.read_stored().groups["team"] == (
        "htpasswd:ana",
        "user:bo@acme.dev",
    )


def test_only_what_comes_from_the_source_is_pruned(harness: IndexHarness) -> None:
    """What was made by hand, or by another file, stays, also if it equals what the file said."""
    harness.index.server.index_administration.add({"name": "hand"}, BO)
    harness.index.server.access.edit_group("set", "equal", ["htpasswd:eva"], BO)
    put(harness.index, '[[index]]\nname = "other"\n', source="other.toml")
    put(harness.index, TEAM + "[groups.equal]\n".replace("[groups.equal]", "") + "")
    report = put(harness.index, '[groups]\nequal = ["htpasswd:eva"]\n', PRUNE)
    assert changes(report) == [
        ("removed", "grant", ""),
        ("removed", "group", "team"),
        ("removed", "publisher", "core"),
        ("removed", "index", "dev"),
        ("removed", "index", "prod"),
        ("removed", "retention", "rules"),
    ]
    put(harness.index, "", PRUNE)

    left = harness.index.server.applying.show()
    assert [index["name"] for index in left.index] == ["hand", "other"]
    assert left.groups == {"equal": ("htpasswd:eva",)}


def test_a_file_that_lacks_something_removes_nothing_by_itself(harness: IndexHarness) -> None:
    """Without --prune, what a file lacks stays."""
    put(harness.index, TEAM)

    assert not put(harness.index, "").changes
    assert harness.index.server.applying.show() == tables_in(TEAM)


def test_the_same_file_is_pruned_when_that_is_asked_for(harness: IndexHarness) -> None:
    """A file that was applied without --prune is applied with it, and after that not again."""
    put(harness.index, TEAM)
    put(harness.index, "")

    assert len(put(harness.index, "", PRUNE).changes) == 6
    harness.index.server.index_administration.add({"name": "dev"}, BO)
    assert not put(harness.index, "", PRUNE).changes


@pytest.mark.parametrize(
    ("needs_group", "why"),
    [
        ('[[namespace]]\nname = "acme"\nowners = ["group:team"]\n', "owns the namespace acme"),
        (
            '[[grant]]\nwho = ["group:team"]\nprojects = ["*"]\nactions = ["read"]\n',
            "grant g[0-9a-f]{8} needs it. Put it back into the file, or revoke the grant first",
        ),
    ],
    ids=["namespace", "grant"],
)
def test_a_group_that_is_needed_is_not_pruned(
    harness: IndexHarness, needs_group: str, why: str
) -> None:
    """A group that a file lacks stays while a namespace or a grant of another file names it."""
    put(harness.index, '[groups]\nteam = ["user:ana@acme.dev"]\n')
    put(harness.index, needs_group, source="names.toml")
    before = harness.snapshot()

    with refused(Conflict, "group_in_use", f"team is not in the file, and {why}"):
        put(harness.index, "", PRUNE)

    assert harness.snapshot() == before


def test_an_index_with_packages_is_not_pruned(harness: IndexHarness) -> None:
    """A file without an index that has packages changes nothing at all."""
    put(harness.index, TEAM)
    made = make_wheel()
    uploads = harness.index.named("dev").uploads
    uploads.accept(made.arrival(harness.folder), ALICE)
    before = harness.snapshot()

    with pytest.raises(Conflict, match="has packages, such as demo") as refused:
        put(harness.index, "", PRUNE)

    assert refused.value.code == "index_in_use"
    assert harness.snapshot() == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '[[index]]\nname = "a"\nlayers = ["b"]\n[[index]]\nname = "b"\nlayers = ["a"]',
            "lead back",
        ),
        ('[[grant]]\nwho = ["group:no"]\nprojects = ["*"]\nactions = ["read"]', "no group 'no'"),
        (
            '[[grant]]\nwho = ["htpasswd:a"]\nprojects = ["*"]\nactions = ["read"]\nindex = "no"',
            "no index 'no'",
        ),
        (PUBLISHER, "no index 'dev'"),
        (
            PRIVATE_ISSUER,
            r"private address: write the issuer into private_issuers of \[trusted_publishing\]",
        ),
        ('[[retention]]\nindex = "no"\nkeep_last = 1', "no index 'no', which the retention rule 1"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(
    harness: IndexHarness, text: str, why: str
) -> None:
    """A circle, an unknown group or index, a forbidden issuer: one sentence, nothing written."""
    before = harness.snapshot()

    with pytest.raises(Invalid, match=why):
        put(harness.index, text)

    assert harness.snapshot() == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[indxe]\nname = 1", "no table 'indxe'"),
        ("main = 1", "main: expected a table"),
        ('[main]\nlayers = ["dev"]', "The index 'main' is wrong: layers: it shows its own"),
        ('[main]\nread = "me"', "The index 'main' is wrong: read: expected"),
        ("[quotas]\nindx_size = 1", "The index 'main' is wrong: indx_size: there is no such key"),
        ("[main]\nindex_size = 1\n[quotas]\nindex_size = 1", "The key index_size of main is there"),
        ("index = 1", "index: expected tables"),
        ('[[index]]\nname = "dev"\ncolour = "red"', "number 1: colour: there is no such key"),
        ('[[index]]\nname = "dev"\nindex_files = -1', r"expected a number of files, from 0\.$"),
        ('[[index]]\nname = "dev"\n[[index]]\nname = "dev"', "'dev' is there twice"),
        ('[[grant]]\nwho = ["ana"]\nprojects = ["*"]\nactions = ["read"]', "is nobody"),
        ("groups = 1", "groups: expected a table, in single brackets"),
        ("[groups]\nteam = 1", "expected a list"),
        ('[groups]\nteam = ["ana"]', r"\[groups\] 'team': .*ana"),
        ('[[publisher]]\nid = "a"\nprovider = "no"', "expected github"),
        ("[[retention]]\nkeep = 1", "number 1: keep: there is no such key"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(text: str, why: str) -> None:
    """An unknown table or key, and a wrong value, are told with their place."""
    with pytest.raises(Invalid, match=why) as refused:
        tables_in(text)

    assert refused.value.code == "wrong_file"


def test_sections_of_the_process_are_passed_over() -> None:
    """A file may have the settings of the server as well."""
    text = '[server]\nport = 1\n[[index]]\nname = "dev"'

    assert read_tables(tomllib.loads(text), ("server",)).index == ({"name": "dev"},)


def test_main_is_as_the_file_says(harness: IndexHarness) -> None:
    """A file closes main and gives it rules, and without its table only --prune undoes that."""
    closed = '[main]\nread = "granted"\nsnapshot = 2026-01-01\npromote_only = false\n'
    first = put(harness.index, closed)
    definitions = harness.index.server.definitions

    assert changes(first) == [("changed", "index", MAIN)]
    assert [(one.index, one.before, one.after) for one in first.anonymous] == [
        (MAIN, "everything", "nothing")
    ]
    main = definitions.load().main
    assert (main.is_open, main.rules.snapshot) == (False, "2026-01-01")
    assert not main.is_closed_while_unused
    assert not put(harness.index, to_toml(harness.index.server.applying.show()), AGAIN).changes
    assert not put(harness.index, "").changes
    with pytest.raises(Conflict, match="nothing would say who may") as refused:
        put(harness.index, "", PRUNE)
    assert refused.value.code == "opens_index"
    pruned = put(harness.index, "", ApplyOptions(prune=True, even_if_open=True))
    assert changes(pruned) == [("changed", "index", MAIN)]
    assert definitions.load().main.is_open
    assert harness.index.server.applying.show() == IndexTables()


def test_main_that_was_pruned_is_of_no_file(harness: IndexHarness) -> None:
    """Who closes main by hand after its table was pruned keeps it closed at the next --prune."""
    put(harness.index, "[main]\nproject_files = 3\n")
    put(harness.index, "", PRUNE)
    harness.index.server.index_administration.change(MAIN, {"read": "granted"}, BO)

    assert MAIN not in {name for _, _, name in changes(put(harness.index, TEAM, PRUNE))}
    assert not harness.index.server.definitions.load().main.is_open


def test_a_main_that_opens_for_want_of_a_word_has_to_be_confirmed(harness: IndexHarness) -> None:
    """No change of another key of a closed main, and no change by hand, opens it by the way."""
    put(harness.index, '[main]\nread = "granted"\n')
    administration = harness.index.server.index_administration

    with pytest.raises(Conflict, match="nothing would say who may"):
        put(harness.index, "[main]\nproject_files = 3\n")
    with pytest.raises(Conflict, match="nothing would say who may"):
        administration.change(MAIN, {"read": None}, BO)
    put(harness.index, '[main]\nread = "anyone"\n')
    assert harness.index.server.definitions.load().main.is_open


def test_main_that_was_changed_by_hand_is_not_pruned(harness: IndexHarness) -> None:
    """Main stays closed if somebody has closed it, and no file of this source has its table."""
    harness.index.server.index_administration.change(MAIN, {"read": "granted"}, BO)
    put(harness.index, TEAM)

    assert MAIN not in {name for _, _, name in changes(put(harness.index, "", PRUNE))}
    assert not harness.index.server.definitions.load().main.is_open


def test_an_open_index_over_a_main_that_closes_has_to_be_confirmed(harness: IndexHarness) -> None:
    """A file that closes main, which an open index shows, is refused, unless that is confirmed."""
    text = '[main]\nread = "{}"\n[[index]]\nname = "a"\nlayers = ["main"]\nread = "anyone"'
    put(harness.index, text.format("anyone"))
    with pytest.raises(Conflict, match="packages of the index main") as refused:
        put(harness.index, text.format("granted"))

    assert refused.value.code == "opens_index"


def test_claims_of_a_publisher_are_shown_as_they_were_written() -> None:
    """A publisher with a table of claims is shown as TOML that means the same publisher."""
    tables = tables_in(
        '[[publisher]]\nid = "batch"\nprovider = "oidc"\nissuer = "https://issuer.example/a"\n'
        'match = { sub = "release", "acme.dev/trusted" = true }\n'
        'projects = ["batch-data", "batch-lib"]\n'
    )

    assert tables.publisher
    assert 'projects = ["batch-data", "batch-lib"]\n' in to_toml(tables)
    assert tables_in(to_toml(tables)) == tables


def test_two_files_say_nothing_of_the_same_thing() -> None:
    """Files that are joined have one table of main in all, and one list of a group's members."""
    main, group = tables_in("[main]"), tables_in('[groups]\nteam = ["user:ana@acme.dev"]')

    assert joined([main, tables_in("")]) == main
    assert joined([main, group]).groups == group.groups
    with pytest.raises(Invalid, match=r"\[main\] is there twice"):
        joined([main, main])
    with pytest.raises(Invalid, match="The group team is there twice"):
        joined([group, group])


def test_an_open_index_over_a_closed_one_has_to_be_confirmed(harness: IndexHarness) -> None:
    """A file that opens a closed index by a layer is refused, unless that is confirmed."""
    text = '[[index]]\nname = "a"\n[[index]]\nname = "b"\nlayers = ["b", "a"]\nread = "anyone"'
    with pytest.raises(Conflict) as refused:
        put(harness.index, text)

    assert refused.value.code == "opens_index"
    assert put(harness.index, text, ApplyOptions(even_if_open=True)).is_done
    # what is so already needs no word
    assert put(harness.index, text + '\n[[index]]\nname = "c"').is_done


def test_nobody_takes_the_administration_from_himself(harness: IndexHarness) -> None:
    """A file without the caller's own right to administer is refused, unless that is confirmed."""
    admin = '[[grant]]\nwho = ["htpasswd:ana"]\nprojects = ["*"]\nactions = ["admin"]\n'
    put(harness.index, admin)
    ana = frozenset({"htpasswd:ana"})

    with pytest.raises(Conflict) as refused:
        put(harness.index, "", PRUNE, keep_admin=ana)
    assert refused.value.code == "own_access"
    assert harness.index.server.access.show().grants

    put(harness.index, "", replace(PRUNE, even_if_own=True), keep_admin=ana)
    assert not harness.index.server.access.show().grants


def test_nothing_is_applied_while_an_index_is_called_main(harness: IndexHarness) -> None:
    """No file is applied, also by a start, while an index of an earlier version is called main."""
    server = harness.index.server
    at_start = AppliedFiles(
        server.applying, [SourcedTables("team.toml", tables_in(TEAM))], server.retries
    )
    made = IndexMade(at=harness.clock.now, by=BO, keys={"name": MAIN})
    harness.index.catalog.index_records.change(lambda _: (made,))
    before = harness.snapshot()

    with refused(Conflict, "index_in_use", "give it another name by the command index rename"):
        put(harness.index, TEAM)
    with refused(Conflict, "index_in_use"):
        at_start.put_into_force()

    assert harness.snapshot() == before


@pytest.mark.parametrize(
    ("times", "outcome", "is_applied"),
    [
        (1, nullcontext(), True),
        (ALWAYS, refused(Unavailable, "overloaded", "describes the index at once"), False),
    ],
    ids=["once", "always"],
)
def test_a_server_that_starts_gives_way_to_others(
    harness: IndexHarness,
    times: float,
    outcome: AbstractContextManager[object],
    *,
    is_applied: bool,
) -> None:
    """A server applies its files again if another one changes the same, or says why it cannot."""
    put(harness.index, '[groups]\nteam = ["htpasswd:ana"]\n')
    other = harness.opened(seed=7).server.access
    numbers = count()

    def change() -> None:
        other.edit_group("set", "team", [f"htpasswd:b{next(numbers)}"], BO)

    busy = FakeStore(harness.store, Before(change, "put", keys.ACCESS, times=times))
    server = harness.opened(seed=8, store=busy).server
    file = SourcedTables("team.toml", tables_in('[groups]\nteam = ["htpasswd:eva"]\n'))

    with outcome:
        AppliedFiles(server.applying, [file], server.retries).put_into_force()

    assert (other.read_stored().groups["team"] == ("htpasswd:eva",)) is is_applied


def test_namespaces_are_checked_with_those_that_others_add(harness: IndexHarness) -> None:
    """A namespace is not added around one that somebody adds to another owner at the same time."""
    inner = {"name": "acme-core", "owners": ["htpasswd:eva"]}
    other = harness.opened(seed=7).server.namespaces
    add = Before(lambda: other.add(inner, BO), "put", keys.NAMESPACES)
    busy = harness.opened(seed=8, store=FakeStore(harness.store, add))

    with refused(Conflict, "changed_meanwhile", "The list of namespaces"):
        put(busy, '[[namespace]]\nname = "acme"\nowners = ["htpasswd:ana"]\n')

    assert [table.name for table in other.show()] == ["acme-core"]


def test_a_file_that_cannot_be_applied_is_compared(harness: IndexHarness) -> None:
    """A server that only reads says what differs from its file, also if that would be refused."""
    server = harness.index.server
    file = SourcedTables("index.toml", tables_in(CIRCLE))
    (drift,) = AppliedFiles(server.applying, [file], server.retries).drifts()

    assert drift.differences == 2
    assert drift.text == (
        "It was never applied. 2 differences to what is in force: index a, index b."
    )


CHANGES_MEANWHILE: Final[dict[str, tuple[str, Callable[[Index], object]]]] = {
    "main": (
        keys.INDEX_LIST,
        lambda index: index.server.index_administration.change(MAIN, {"index_files": 5}, BO),
    ),
    "index": (
        keys.INDEX_LIST,
        lambda index: index.server.index_administration.change("dev", {"read": "granted"}, BO),
    ),
    "group": (
        keys.ACCESS,
        lambda index: index.server.access.edit_group("add", "team", ["htpasswd:eva"], BO),
    ),
    "publisher": (
        keys.PUBLISHERS,
        lambda index: index.server.publishers.change("core", {"projects": ["acme-x"]}, BO),
    ),
}


def late_applying(applying: Applying, change: Callable[[], object]) -> Applying:
    """Return an operation that looks at the documents, and then somebody changes one."""

    class Late(Applying):  # type: ignore[misc]
        """It."""

        def read_state(self) -> Any:  # noqa: ANN401 - passed on
            state = super().read_state()
            change()
            return state

    return Late(
        applying.indexes,
        applying.access,
        applying.publishers,
        applying.namespaces,
        applying.webhooks,
        is_private=False,
    )


@pytest.mark.parametrize(
    "members", ["", '"htpasswd:ana", "htpasswd:cy", '], ids=["takes-away", "gives"]
)
@pytest.mark.parametrize("kind", CHANGES_MEANWHILE)
def test_a_change_since_the_plan_is_not_overwritten(
    harness: IndexHarness, kind: str, members: str
) -> None:
    """What somebody else changes between plan and commit stays, and the file is refused."""
    put(harness.index, TEAM)
    other = harness.opened(seed=7)
    applying = harness.index.server.applying
    key, change = CHANGES_MEANWHILE[kind]
    new = f"[main]\nindex_files = 7\n{TEAM}"
    new = new.replace('"anyone"', '"granted"\nindex_files = 9').replace('["acme-core"]', '["b"]')
    new = new.replace('"htpasswd:ana", ', members)
    file = SourcedTables("team.toml", tables_in(new))

    with pytest.raises(Conflict) as refused:
        late_applying(applying, lambda: change(other)).apply([file], BO, ApplyOptions())

    assert refused.value.code == "changed_meanwhile"
    assert key in harness.snapshot()
    other = harness.opened(seed=8)
    assert put(other, new).is_done
    assert other.server.applying.show() == tables_in(new)


def test_an_index_that_changes_meanwhile_refuses_no_file_about_groups(
    harness: IndexHarness,
) -> None:
    """A file that changes a group alone is applied although somebody else changes an index."""
    put(harness.index, TEAM)
    _, change = CHANGES_MEANWHILE["index"]
    applying = late_applying(harness.index.server.applying, lambda: change(harness.opened(seed=7)))
    file = SourcedTables("team.toml", tables_in(TEAM.replace('"htpasswd:ana", ', "")))

    (report,) = applying.apply([file], BO, ApplyOptions())

    assert report.is_done
    groups = harness.opened(seed=8).server.access.read_stored().groups
    assert groups["team"] == ("user:bo@acme.dev",)


@pytest.mark.parametrize(
    ("change", "outcome", "left"),
    [
        (
            lambda index, _: index.server.access.grant(
                GrantFields(who=("htpasswd:eva",), projects=("*",), actions=("read",)), BO
            ),
            nullcontext(),
            [("htpasswd:eva",)],
        ),
        (
            lambda index, grant_id: index.server.access.revoke(grant_id, BO),
            refused(Conflict, "changed_meanwhile", "The grant "),
            [],
        ),
    ],
    ids=["another grant", "the same grant"],
)
def test_a_file_that_revokes_a_grant_is_refused_if_that_has_changed(
    harness: IndexHarness,
    change: Callable[[Index, str], object],
    outcome: AbstractContextManager[object],
    left: list[tuple[str, ...]],
) -> None:
    """A file revokes a grant although somebody makes another one, unless that grant is gone."""
    put(harness.index, TEAM)
    access = harness.opened(seed=8).server.access
    (granted,) = access.read_stored().grants
    other = harness.opened(seed=7)
    applying = late_applying(harness.index.server.applying, lambda: change(other, granted.id))
    before_grant, _, _ = TEAM.partition("[[grant]]")
    file = SourcedTables("team.toml", tables_in(before_grant))

    with outcome:
        applying.apply([file], BO, ApplyOptions(prune=True))

    assert [granted.grant.who for granted in access.read_stored().grants] == left


OPENS_AND_CLOSES: Final = """
[main]
read = "{main_read}"
promote_only = false
[[index]]
name = "dev"
layers = {dev}
read = "{dev_read}"
[[index]]
name = "secret"
read = "{secret_read}"
[[index]]
name = "pub"
[[grant]]
who = ["anonymous"]
projects = ["{names}"]
actions = ["read"]
index = "{grant_index}"
"""
EARLIER: Final = OPENS_AND_CLOSES.format(
    main_read="anyone",
    dev='["dev"]',
    dev_read="granted",
    secret_read="granted",
    names="*",
    grant_index="dev",
)
LATER: Final = OPENS_AND_CLOSES.format(
    main_read="granted",
    dev='["dev", "secret"]',
    dev_read="granted",
    secret_read="granted",
    names="*",
    grant_index="pub",
)


def read_by_anybody(index: Index) -> set[tuple[str, str]]:
    """Return which files an anonymous reader gets, with the index that is asked."""
    readable = set[tuple[str, str]]()
    for served in index.server.indexes.all():
        name = NormalizedName("demo")
        if served.read_policy.is_public(name):
            for project in served.repository.find(name).projects:
                readable.update((served.name, file.filename) for file in project.project.files)
    return readable


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FaultKind.CRASH, FaultKind.CRASH_AFTER])
@pytest.mark.parametrize(("first", "second"), [(EARLIER, LATER), (LATER, EARLIER)])
def test_nobody_reads_on_the_way_what_was_and_will_be_closed(
    harness: IndexHarness, first: str, second: str, kind: FaultKind
) -> None:
    """Killed at any call of the store, nothing is open that is not so before or after."""
    put(harness.index, first)
    for number, name in enumerate(("dev", "secret", "pub", MAIN)):
        made = make_wheel(version=f"{number + 1}.0")
        served = harness.index.server.indexes.get(name)
        served.uploads.accept(made.arrival(harness.folder), ALICE)
    before = read_by_anybody(harness.opened(seed=2))
    start = harness.snapshot()
    put(harness.index, second, PRUNE)
    after = read_by_anybody(harness.opened(seed=2))
    assert before != after
    calls = 0
    while True:
        calls += 1
        for key in harness.snapshot().keys() - start.keys():
            harness.store.delete(Key(key))
        for key, body in start.items():
            harness.store.put(Key(key), body, None)
        faulty = FakeStore(harness.store, Fault(kind, nth=calls))
        try:
            put(harness.opened(seed=calls + 10, store=faulty), second, PRUNE)
        except ProcessCrash:
            assert read_by_anybody(harness.opened(seed=3)) <= before | after
            put(harness.opened(seed=4), second, PRUNE)
        else:
            break
        assert read_by_anybody(harness.opened(seed=3)) == after
        assert harness.opened(seed=6).server.applying.show() == tables_in(second)
    assert calls > 10


main = st.fixed_dictionaries(
    {},
    optional={
        "read": st.sampled_from(["anyone", "granted"]),
        "promote_only": st.booleans(),
        "project_files": st.integers(0, 9),
        "promote_from": st.just(["dev"]),
        "snapshot": st.dates().map(str),
    },
)
names = st.from_regex(r"[a-z][a-z0-9]{1,8}", fullmatch=True).filter(
    lambda name: name not in {MAIN, "upstream", "simple", "files", "legacy"}
)
patterns = st.sampled_from(["*", "acme-*", "tools", "Acme_Core"])
principals = st.sampled_from(["htpasswd:ana", "user:Bo@Acme.dev", "domain:acme.dev", "static:x"])
indexes = st.lists(
    st.fixed_dictionaries(
        {"name": names},
        optional={
            "read": st.sampled_from(["anyone", "granted"]),
            "index_size": st.integers(1, 9),
            "promote_only": st.booleans(),
            "prereleases": st.sampled_from([False]),
            "versions": st.dictionaries(patterns, st.just("<2"), min_size=1, max_size=2),
        },
    ),
    max_size=3,
    unique_by=lambda table: table["name"],
)
grants = st.lists(
    st.fixed_dictionaries(
        {
            "who": st.lists(principals, min_size=1, max_size=2),
            "projects": st.lists(patterns, min_size=1, max_size=2),
            "actions": st.lists(st.sampled_from(["read", "upload", "manage"]), min_size=1),
        },
        optional={"note": st.text("ab'\"\\ é", max_size=5).map(str.strip)},
    ),
    max_size=3,
)


rules = st.lists(
    st.fixed_dictionaries(
        {"keep_last": st.integers(1, 9)},
        optional={"projects": st.lists(patterns, min_size=1, max_size=2), "note": st.just("old")},
    ),
    max_size=2,
)


@pytest.mark.slow
@given(
    main,
    indexes,
    grants,
    st.dictionaries(names, st.lists(principals, max_size=3), max_size=2),
    rules,
)
@settings(max_examples=60, deadline=None)
def test_what_is_shown_is_what_is_in_force(
    tmp_path_factory: pytest.TempPathFactory,
    main: dict[str, Any],
    index: list[dict[str, Any]],
    grant: list[dict[str, Any]],
    groups: dict[str, list[str]],
    retention: list[dict[str, Any]],
) -> None:
    """The file that `show` prints changes nothing in its own store, and makes an equal one."""
    one, other = (IndexHarness(tmp_path_factory.mktemp("store")) for _ in range(2))
    given_tables = {
        "main": main,
        "index": index,
        "grant": grant,
        "groups": groups,
        "retention": retention,
    }
    tables = read_tables(given_tables, TABLES)
    confirmed = ApplyOptions(even_if_open=True)
    one.index.server.applying.apply([SourcedTables("a", tables)], BO, confirmed)
    shown = to_toml(one.index.server.applying.show())

    assert not put(one.index, shown, source="b").changes
    assert put(other.index, shown, confirmed).is_done
    assert to_toml(other.index.server.applying.show()) == shown


def test_the_journal_says_who_has_applied_what(harness: IndexHarness) -> None:
    """Each change of a file is in the journal of its document, and so is the file."""
    put(harness.index, TEAM)
    harness.index.server.access.grant(
        GrantFields(who=("htpasswd:x",), projects=("*",), actions=("read",)), BO
    )

    commits = harness.index.server.definitions.records.history()
    assert [type(event).__name__ for commit in commits for event in commit.events] == [
        "IndexMade",
        "IndexMade",
        "RetentionChanged",
        "FileApplied",
    ]
