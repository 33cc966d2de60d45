"""A store that a newer version of wheelyard has written to: what is kept, refused, and said."""

from datetime import timedelta
from hashlib import sha256

import pytest
from msgspec import Raw
from msgspec.json import decode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.catalog.invariants import commit_key
from tests.distributions import make_sdist, make_wheel
from tests.operations.in_memory_index import ALICE, IndexHarness, code_of, history, remove_now
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.catalog.format import FORMAT, OLDEST_VERSION
from wheelyard.catalog.journaled_documents import CommitCodec, ProjectCodec, project_journal
from wheelyard.errors import Invalid, Unavailable
from wheelyard.model.grants import GrantFields
from wheelyard.model.project import NO_JSON, Commit, Event, File, Project
from wheelyard.storage.base import Key
from wheelyard.upstream.decisions import Deciding
from wheelyard.upstream.file_cache import Pin, PinnedDigests

DEMO, OTHER = NormalizedName("demo"), NormalizedName("other")
WHEEL, SDIST = make_wheel(), make_sdist()
NEWER = "999.0"


def stored(harness: IndexHarness) -> Project:
    """Return the document of the project demo."""
    return ProjectCodec().decode(keys.project(DEMO), harness.bytes_at(keys.project(DEMO)))


def write(harness: IndexHarness, project: Project) -> None:
    """Write the document of the project demo."""
    harness.store.put(keys.project(DEMO), ProjectCodec().encode(project), None)


def commit_newer(harness: IndexHarness, needs: str = "") -> None:
    """Commit an event that this version does not know."""
    commit_event(
        harness, Event(what="promoted", at=harness.clock.now, by="x", files=("a",), needs=needs)
    )


def commit_event(harness: IndexHarness, event: Event) -> None:
    """Commit an event, as a newer version does."""
    before, codec = stored(harness), CommitCodec()
    assert before.commit is not None
    commit = Commit(
        number=before.revision + 1,
        id="a",
        previous=sha256(codec.encode(before.commit)).hexdigest(),
        events=(event,),
    )
    harness.store.put(commit_key(DEMO, commit.number), codec.encode(commit), None)
    write(harness, project_journal(DEMO).fold(before, commit))


@pytest.fixture
def newer_store(harness: IndexHarness) -> IndexHarness:
    """A store with two projects; in one is an event that this version may pass over."""
    harness.upload(WHEEL)
    harness.upload(make_wheel("other"))
    commit_newer(harness)
    return harness


def test_an_unknown_event_is_passed_over(newer_store: IndexHarness) -> None:
    """A project with an unknown event is served and changed, and the event stays in its journal."""
    newer_store.upload(SDIST)

    project = newer_store.opened(3).projects.get(DEMO)
    assert len(project.files) == 2
    assert [
        event.what for commit in history(newer_store.index, DEMO) for event in commit.events
    ] == [
        "uploaded",
        "promoted",
        "uploaded",
    ]


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("has_field", [False, True])
def test_check_blames_no_event(
    newer_store: IndexHarness, *, rebuild: bool, has_field: bool
) -> None:
    """`check` says that it cannot compare a project with an unknown event, and changes nothing."""
    if has_field:
        write(newer_store, replace(stored(newer_store), other_fields=(("new", Raw(b"1")),)))
    before = newer_store.snapshot()

    findings = newer_store.check(rebuild=rebuild, sweep=True)

    assert findings.problems == findings.repaired == []
    assert "cannot be compared with its journal" in findings.notes[0].message
    assert "does not know" in findings.notes[0].message
    assert "'promoted'" in findings.notes[0].message
    assert newer_store.snapshot() == before


def test_a_lost_document_is_rebuilt_by_the_version_that_knows_it(newer_store: IndexHarness) -> None:
    """A journal with unknown events is not folded into a document, which would lack something."""
    newer_store.store.delete(keys.project(DEMO))

    findings = newer_store.check(rebuild=True)

    assert "check it with a newer version" in findings.problems[0]
    assert newer_store.store.get(keys.project(DEMO)) is None


@pytest.mark.parametrize("is_local", [True, False])
def test_a_needed_unknown_event_hides_its_project(
    newer_store: IndexHarness, *, is_local: bool
) -> None:
    """A project with an event that needs a newer version is not shown or changed; others are."""
    index = newer_store.opened(3, is_local=is_local)
    index.search.start = lambda work: work()
    index.projects.get(DEMO)
    commit_newer(newer_store, needs=NEWER)
    newer_store.clock.advance(seconds=60)

    for index_now in (index, newer_store.opened(4, is_local=is_local)):
        index_now.search.start = lambda work: work()
        with pytest.raises(Unavailable, match=NEWER) as read:
            index_now.projects.get(DEMO)
        with pytest.raises(Unavailable, match=NEWER) as written:
            index_now.uploads.accept(SDIST.arrival(newer_store.folder), ALICE)
        assert code_of(read.value) == code_of(written.value) == ("Unavailable", "newer_document")
        index_now.search.table()
        assert [facts.name for facts in index_now.search.table().projects] == [OTHER]


def test_check_names_the_version_that_is_needed(newer_store: IndexHarness) -> None:
    """`check` names the version that can read a project, and deletes and rebuilds nothing of it."""
    commit_newer(newer_store, needs=NEWER)
    newer_store.clock.advance(days=9)
    before = newer_store.snapshot()

    findings = newer_store.check(rebuild=True, sweep=True)

    (problem,) = findings.problems
    assert f"Upgrade to wheelyard {NEWER} or newer" in problem
    assert "cannot be compared with its journal" in problem
    assert newer_store.snapshot() == before


def with_sidecar(file: File, content: bytes) -> tuple[File, str]:
    """Return a file with a sidecar that this version does not know, and the digest of that."""
    digest = sha256(content).hexdigest()
    return replace(file, sidecars={**file.sidecars, "provenance": digest}), digest


def test_unknown_sidecars_are_verified_and_deleted_with_the_file(harness: IndexHarness) -> None:
    """What is listed beside a file is verified, not swept, and deleted with the file."""
    harness.upload(WHEEL)
    (file,) = stored(harness).files
    file, digest = with_sidecar(file, b"proof")
    name = f"files/demo/{WHEEL.sha256}/{WHEEL.filename}"
    sidecar, orphan = Key(f"{name}.{digest}.provenance"), Key(f"{name}.{'0' * 64}.provenance")
    for key in (sidecar, orphan):
        harness.store.put(key, b"proof", None)
    write(harness, replace(stored(harness), files=(file,)))
    commit_newer(harness)
    harness.clock.advance(days=9)

    assert harness.check(sweep=True).swept == 1
    assert harness.store.get(orphan) is None
    harness.store.put(sidecar, b"other", None)
    assert any(sidecar in problem for problem in harness.check().problems)
    harness.store.put(sidecar, b"proof", None)
    remove_now(harness.index, WHEEL.sha256)
    assert harness.snapshot("files/") == {}


@pytest.mark.parametrize("is_over", [False, True])
def test_a_sweep_spares_the_trash(harness: IndexHarness, *, is_over: bool) -> None:
    """The bytes of a deleted file stay until the time that the document says."""
    harness.upload(WHEEL)
    (file,) = stored(harness).files
    end = harness.clock.now + timedelta(days=5 if is_over else 99)
    kept = replace(file, keep_until=end)
    project = replace(stored(harness), files=(), trash=(kept,), deleted_filenames=(file.filename,))
    write(harness, project)
    commit_newer(harness)
    harness.clock.advance(days=9)

    assert harness.check(sweep=True).swept == (2 if is_over else 0)
    assert bool(harness.snapshot("files/")) is not is_over


def test_an_unknown_field_of_a_grant_refuses_changes(harness: IndexHarness) -> None:
    """A field that this version does not know is not lost by a change: the change is refused."""
    grant = GrantFields(who=("user:ana@acme.dev",), projects=("acme-*",), actions=("read",))
    harness.index.server.access.grant(grant, "local:alice")
    newer = harness.bytes_at(keys.ACCESS).replace(b'"id":"', b'"until":"noon","id":"')
    harness.store.put(keys.ACCESS, newer, None)
    index = harness.opened(2)
    assert index.server.access.load().all

    with pytest.raises(Unavailable, match="Upgrade wheelyard"):
        index.server.access.grant(grant, "local:alice")

    assert harness.bytes_at(keys.ACCESS) == newer


def add_field(harness: IndexHarness, key: Key) -> None:
    """Add a field to a document, as a newer version does."""
    newer = harness.bytes_at(key).replace(b"{", b'{"new":{"a":[1]},', 1)
    harness.store.put(key, newer, None)


def unknown_field(harness: IndexHarness, key: Key) -> object:
    """Return the value of the field that `add_field` has added."""
    return decode(harness.bytes_at(key))["new"]


def test_the_list_of_names_and_the_feed_keep_unknown_fields(newer_store: IndexHarness) -> None:
    """Unknown fields of the list of names and the feed stay when a project is published."""
    newer_store.index.changes.newest()
    for key in (keys.PROJECT_NAMES, keys.CHANGES):
        add_field(newer_store, key)

    newer_store.upload(make_wheel("third"))
    changes, _ = newer_store.opened(3).changes.since(0)

    assert "third" in {change.project for change in changes}
    for key in (keys.PROJECT_NAMES, keys.CHANGES):
        assert unknown_field(newer_store, key) == {"a": [1]}
    assert newer_store.check().problems == []


def test_the_feed_is_not_written_without_what_an_entry_has(newer_store: IndexHarness) -> None:
    """An entry of a newer version is not cut off: the list of changes is refused."""
    newer_store.index.changes.newest()
    before = newer_store.bytes_at(keys.CHANGES).replace(b"]]", b',"new"]]')
    newer_store.store.put(keys.CHANGES, before, None)
    newer_store.upload(make_wheel("third"))

    with pytest.raises(Unavailable, match=r"changes\.json is damaged") as caught:
        newer_store.opened(3).changes.newest()
    assert caught.value.code == "damaged_document"

    assert newer_store.bytes_at(keys.CHANGES) == before


def test_a_token_with_an_unknown_field(harness: IndexHarness) -> None:
    """A token with an unknown field can be revoked, keeps the field, and cannot be rotated."""
    token, record = harness.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    key = keys.token(record.id)
    add_field(harness, key)
    index = harness.opened(2)
    stored = index.tokens.get(token)

    with pytest.raises(Unavailable, match=r"'new'.* Upgrade wheelyard") as caught:
        index.tokens.rotate(stored, timedelta(days=1), by="local:alice")
    assert caught.value.code == "newer_document"
    index.tokens.revoke(record.id, by="local:alice")

    assert unknown_field(harness, key) == {"a": [1]}
    assert harness.opened(3).tokens.all()[0].revoked_by == "local:alice"
    assert harness.check().problems == []


def test_a_rotation_with_an_unknown_field(harness: IndexHarness) -> None:
    """A part of a record that cannot be kept is not lost: the change is refused."""
    _, record = harness.index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    harness.index.tokens.rotate(record, timedelta(days=1), by="local:alice")
    key = keys.token(record.id)
    before = harness.bytes_at(key).replace(b'"successor":', b'"new":1,"successor":')
    harness.store.put(key, before, None)

    with pytest.raises(Unavailable, match="Upgrade wheelyard"):
        harness.opened(2).tokens.revoke(record.id, by="local:alice")

    assert harness.bytes_at(key) == before


def test_pins_of_an_upstream_index_are_not_written_without_unknown_parts(
    harness: IndexHarness,
) -> None:
    """What a newer version has noted of the digest of a file stays: the list is not written."""
    pins, pin = PinnedDigests(harness.store, harness.index.server.retries), Pin("0" * 64, 1)
    pins.list_on_page(DEMO, "a.whl", pin)
    key = keys.upstream_digests(DEMO)
    before = harness.bytes_at(key).replace(b'"size":1', b'"size":1,"new":1')
    harness.store.put(key, before, None)
    assert pins.load(DEMO) == {"a.whl": pin}

    with pytest.raises(Unavailable, match="Upgrade wheelyard"):
        pins.list_on_page(DEMO, "b.whl", pin)

    assert harness.bytes_at(key) == before


@pytest.mark.parametrize("place", ["document", "journal", "both"])
@pytest.mark.parametrize("rebuild", [False, True])
def test_check_writes_no_decision_or_grant_of_a_newer_version(
    harness: IndexHarness, place: str, *, rebuild: bool
) -> None:
    """What a newer version has written is neither mended nor rebuilt, which would lose parts."""
    fields = GrantFields(who=("user:ana@acme.dev",), projects=("acme-*",), actions=("read",))
    harness.index.server.access.grant(fields, "local:alice")
    deciding = Deciding(harness.index.server.decisions, "local:alice")
    deciding.block(DEMO, None, "")
    entries = [keys.numbered_entry(prefix, 1) for prefix in (keys.ACCESS_JOURNAL, "decisions/")]
    for key in (*entries, keys.ACCESS, keys.DECISIONS):
        if place == "both" or (key in entries) is (place == "journal"):
            newer = harness.bytes_at(key).replace(b'"by":', b'"new":[1],"by":')
            harness.store.put(key, newer, None)
    before = harness.snapshot()

    findings = harness.check(rebuild=rebuild)

    assert findings.problems == findings.repaired == []
    assert [note.message.partition(":")[0] for note in findings.notes] == [
        f"{key} cannot be compared" for key in (keys.ACCESS, keys.DECISIONS)
    ]
    assert "check it with a newer version" in findings.notes[0].message
    assert harness.snapshot() == before


@pytest.mark.parametrize("place", ["data", "event"])
def test_check_of_a_known_event_with_unknown_data(harness: IndexHarness, place: str) -> None:
    """`check` rebuilds no project whose event has unknown data, and sweeps none of its bytes."""
    harness.upload(WHEEL)
    (file,) = stored(harness).files
    until = Raw(b'{"new":"2999-01-01T00:00:00Z"}') if place == "data" else NO_JSON
    names = (file.filename,)
    commit_event(
        harness, Event(what="deleted", at=harness.clock.now, by="x", files=names, data=until)
    )
    key = commit_key(DEMO, 2)
    entry = harness.bytes_at(key)
    if place == "event":
        entry = entry.replace(b'"what":', b'"keep_until":"2999-01-01T00:00:00Z","what":')
        harness.store.put(key, entry, None)
    kept = replace(file, keep_until=harness.clock.now + timedelta(days=99))
    write(harness, replace(stored(harness), trash=(kept,), stored_commit=Raw(entry[:-1])))
    harness.clock.advance(days=9)
    before = harness.snapshot()

    findings = harness.check(rebuild=True, sweep=True)

    assert findings.problems == findings.repaired == []
    assert "cannot be compared with its journal" in findings.notes[0].message
    assert harness.snapshot() == before


def write_format(harness: IndexHarness, **fields: str) -> None:
    """Change the format of the store."""
    body = harness.bytes_at(keys.FORMAT)
    for name, value in fields.items():
        old = b'"%b":"%b"' % (name.encode(), OLDEST_VERSION.encode())
        assert old in body
        body = body.replace(old, b'"new":[1],"%b":"%b"' % (name.encode(), value.encode()))
    harness.store.put(keys.FORMAT, body, None)


def test_a_store_for_newer_readers_is_refused(harness: IndexHarness) -> None:
    """A store for newer readers is refused with a sentence that names the version."""
    write_format(harness, reader=NEWER)

    with pytest.raises(Invalid, match=rf"needs wheelyard {NEWER} or newer") as caught:
        harness.opened(2)

    assert caught.value.code == "newer_store"


def test_a_store_that_names_no_version_is_for_all(harness: IndexHarness) -> None:
    """A store whose `wheelyard.json` names no versions, as an earlier one wrote it, takes files."""
    harness.store.put(keys.FORMAT, b'{"format":%d}\n' % FORMAT, None)
    index = harness.opened(2)

    index.uploads.accept(SDIST.arrival(harness.folder), ALICE)

    assert [file.filename for file in index.projects.get(DEMO).files] == [SDIST.filename]


@pytest.mark.parametrize(("reader", "advice"), [("", ""), (NEWER, f" to {NEWER} or newer")])
def test_a_store_of_a_newer_format_is_refused(
    harness: IndexHarness, reader: str, advice: str
) -> None:
    """A store of a newer format is refused, with the version that is needed if the store has it."""
    harness.store.put(keys.FORMAT, b'{"format":4,"reader":"%b","new":{}}' % reader.encode(), None)

    with pytest.raises(Invalid, match=rf"has format 4.* Upgrade wheelyard{advice}\.") as caught:
        harness.opened(2)

    assert caught.value.code == "newer_store"


@pytest.mark.parametrize("version", [NEWER, "what comes after numbers"])
def test_a_store_for_newer_writers_is_read_only(harness: IndexHarness, version: str) -> None:
    """A store for newer writers is read, and each write says which version it needs."""
    harness.upload(WHEEL)
    harness.store.put_file(Key(f"files/demo/{'0' * 64}/demo-9.tar.gz"), b"left by an upload")
    harness.clock.advance(days=2)
    write_format(harness, writer=version)
    index = harness.opened(2)
    before = harness.snapshot()

    assert index.projects.get(DEMO).files
    with pytest.raises(Unavailable, match=version):
        index.server.check.run(sweep=True)
    with pytest.raises(Unavailable, match=f"needs wheelyard {version}") as caught:
        index.uploads.accept(SDIST.arrival(harness.folder), ALICE)
    assert caught.value.code == "newer_store"
    with pytest.raises(Unavailable, match=version):
        index.tokens.create(TokenRequest(name="ci"), by="local:alice")
    assert harness.snapshot() == before


def test_an_older_store_is_refused_with_what_to_do(harness: IndexHarness) -> None:
    """A store of an earlier format is refused, and the error says how its packages are taken."""
    harness.store.put(keys.FORMAT, b'{"format":2}\n', None)

    with pytest.raises(Invalid, match="import the folder 'files'") as caught:
        harness.opened(2)

    assert caught.value.code == "older_store"
