"""Deleted files: they are kept for a while, restored as they were, or removed at once."""

from functools import partial

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.advice import in_terminal
from tests.catalog.invariants import commit_key
from tests.distributions import Distribution, make_sdist, make_wheel
from tests.fake_store import FakeStore, Fault, FaultKind, ProcessCrash
from tests.operations.in_memory_index import ALICE, IndexHarness, remove_now
from tests.operations.two_indexes import TwoIndexes
from tests.refused import refused
from wheelyard.catalog import keys
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Conflict, Forbidden, Invalid, NotFound
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope, parse_pattern
from wheelyard.model.distribution_filename import parse_version, parse_version_set
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.model.metadata import parse_any
from wheelyard.model.project import Project
from wheelyard.operations.descriptions.child_process import RenderProcess
from wheelyard.operations.descriptions.descriptions import Descriptions
from wheelyard.operations.immediate_deletion import RemovedFile, RemovedFiles
from wheelyard.operations.lifecycle import Lifecycle, ReleaseAction, Selection
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.base import Key

DEMO = NormalizedName("demo")
FIRST = Selection(parse_version("1.0"))
WHEEL, SDIST, TWO = make_wheel(), make_sdist(), make_wheel(version="2.0")
NOBODY = Caller("user:n@acme.dev", ())
READER = Caller("user:r@acme.dev", (Scope(Action.UPLOAD.with_implied, (EVERY_PROJECT,), (MAIN,)),))
MANAGER = Caller("user:m@acme.dev", (Scope(Action.MANAGE.with_implied, (EVERY_PROJECT,), (MAIN,)),))
OWN_ADMIN = Caller(
    "user:o@acme.dev", (Scope(Action.ADMIN.with_implied, (parse_pattern("demo"),), (EVERY_INDEX,)),)
)
ADMIN_OF_DEV = Caller(
    "user:d@acme.dev", (Scope(Action.ADMIN.with_implied, (EVERY_PROJECT,), ("dev",)),), index="dev"
)
DEV, PROD = "indexes/dev/", "indexes/prod/"


@pytest.fixture
def life(harness: IndexHarness) -> Lifecycle:
    """Two files of one release, of which one is yanked, and one of another."""
    for made in (WHEEL, SDIST, TWO):
        harness.upload(made)
    yanked = Selection(parse_version("1.0"), frozenset({SDIST.filename}))
    harness.index.lifecycle.change("yank", ALICE, DEMO, yanked, "broken")
    return harness.index.lifecycle


def stored(harness: IndexHarness) -> Project:
    """Return the project as it is in the store."""
    return harness.opened(seed=5).projects.get_current(DEMO)


def removed_now(
    harness: IndexHarness, made: Distribution, *, everywhere: bool = False
) -> RemovedFiles:
    """Remove a distribution by its digest at once, in another process."""
    return remove_now(harness.opened(seed=6), made.sha256, everywhere=everywhere)


def objects_of(harness: IndexHarness, made: Distribution) -> list[str]:
    """Return the keys of the stored objects of a distribution."""
    return [key for key in harness.snapshot("files/") if f"/{made.filename}" in key]


def list_in(harness: IndexHarness, prefix: str, *distributions: Distribution) -> None:
    """Publish the same files in another index of the store, by its documents."""
    other = IndexHarness(harness.folder)
    for made in distributions:
        other.upload(made)
    for folder in ("projects", "journal"):
        for key, body in other.snapshot(folder).items():
            harness.store.put(Key(f"{prefix}{key}"), body, None)


def listed_in(harness: IndexHarness, prefix: str) -> list[str]:
    """Return the filenames that another index of the store lists."""
    (project,) = harness.index.server.sweep.removal.documents(DEMO, (prefix,))
    return [file.filename for file in project.files]


def test_a_restored_file_is_as_it_was(harness: IndexHarness, life: Lifecycle) -> None:
    """A deleted file keeps its bytes, and comes back with its time, uploader and yank."""
    before, bytes_before = stored(harness).files, harness.snapshot("files/")
    harness.clock.advance(days=3)

    deleted = life.change("delete", ALICE, DEMO, FIRST, "wrong one")
    assert [file.filename for file in deleted.project.files] == [TWO.filename]
    assert [file.filename for file in deleted.project.trash] == sorted(
        [WHEEL.filename, SDIST.filename]
    )
    harness.clock.advance(days=29.9)
    restored = life.change("restore", MANAGER, DEMO, FIRST, "right one")

    assert len(restored.files) == 2
    after = stored(harness)
    assert (after.files, after.trash, after.deleted_filenames) == (before, (), ())
    assert harness.snapshot("files/") == bytes_before
    assert (harness.check().problems, harness.check().notes) == ([], [])
    assert life.change("restore", ALICE, DEMO, FIRST, "").files == ()  # it is there already


def test_the_journal_gives_the_document(harness: IndexHarness, life: Lifecycle) -> None:
    """Replaying the journal gives the document, also after what was kept is over."""
    life.change("delete", ALICE, DEMO, FIRST, "")
    harness.clock.advance(days=20)
    life.change("delete", ALICE, DEMO, Selection(parse_version("2.0")), "")
    harness.clock.advance(days=11)
    harness.upload(make_wheel(version="3.0"))
    assert len(stored(harness).trash) == 3  # an upload drops nothing, as in an older version
    life.change("restore", ALICE, DEMO, Selection(parse_version("2.0")), "")
    assert stored(harness).trash == ()
    document = harness.bytes_at(keys.project(DEMO))

    assert harness.check().problems == []
    harness.store.put(keys.project(DEMO), b"{", None)
    assert harness.check(rebuild=True).rebuilt == 1
    assert harness.bytes_at(keys.project(DEMO)) == document


@pytest.mark.parametrize("days", [0, 30])
def test_only_some_can_be_restored(harness: IndexHarness, life: Lifecycle, days: int) -> None:
    """After 30 days, or if it was removed at once, a file cannot be restored, and that is said."""
    if days:
        life.change("delete", ALICE, DEMO, FIRST, "")
        harness.clock.advance(days=days)
    else:
        for made in (WHEEL, SDIST):
            removed_now(harness, made)

    with pytest.raises(NotFound, match="kept for 30 days") as refused:
        life.change("restore", ALICE, DEMO, FIRST, "")
    assert refused.value.code == "not_kept"
    with pytest.raises(NotFound, match=r"has no version 9\.0"):
        life.change("restore", ALICE, DEMO, Selection(parse_version("9.0")), "")
    assert life.kept_files(stored(harness)) == ()


def test_damaged_bytes_are_not_restored(harness: IndexHarness, life: Lifecycle) -> None:
    """A file whose kept bytes are damaged or missing is not listed again, as a dry run says."""
    life.change("delete", ALICE, DEMO, FIRST, "")
    harness.store.put(keys.distribution(DEMO, WHEEL.sha256, WHEEL.filename), b"x", None)

    for dry_run in (True, False):
        with pytest.raises(Conflict, match="missing or damaged"):
            life.change("restore", ALICE, DEMO, FIRST, "", dry_run=dry_run)
    assert [file.filename for file in stored(harness).files] == [TWO.filename]


def test_an_upload_of_a_deleted_file_names_the_way_back(
    harness: IndexHarness, life: Lifecycle
) -> None:
    """A deleted filename stays taken; for the same content, the refusal says how to restore it."""
    life.change("delete", ALICE, DEMO, FIRST, "")

    with pytest.raises(Invalid) as same:
        harness.upload(WHEEL)
    assert "'wheelyard restore demo 1.0'" in in_terminal(same.value)
    with pytest.raises(Invalid, match="Use a new version"):
        harness.upload(make_wheel(content=b"other"))
    assert harness.check().notes == []
    harness.clock.advance(days=30)
    with pytest.raises(Invalid, match="Use a new version"):
        harness.upload(WHEEL)


@pytest.mark.parametrize("action", ["pin", "yank"])
def test_what_was_deleted_is_not_called_unknown(
    harness: IndexHarness, life: Lifecycle, action: ReleaseAction
) -> None:
    """Who changes a deleted release hears that it was deleted, and how it is restored, if it is."""
    life.change("delete", ALICE, DEMO, FIRST, "")
    file = Selection(parse_version("1.0"), frozenset({WHEEL.filename}))
    versions = Selection(parse_version_set("<2"))
    ways = {"1.0": FIRST, f"1.0 --file {WHEEL.filename}": file, "--versions '<2'": versions}

    for what, selection in ways.items():
        with pytest.raises(NotFound, match="any more, as it was deleted") as refused:
            life.change(action, ALICE, DEMO, selection, "")
        assert f"'wheelyard restore demo {what}'" in in_terminal(refused.value)
    harness.clock.advance(days=30)
    for selection in ways.values():
        with pytest.raises(NotFound, match=r"was deleted\. It cannot be restored"):
            life.change(action, ALICE, DEMO, selection, "")
    with pytest.raises(NotFound, match=r"has no version 9\.0\."):
        life.change(action, ALICE, DEMO, Selection(parse_version("9.0")), "")


def test_only_managers_restore_and_only_administrators_remove(
    harness: IndexHarness, life: Lifecycle
) -> None:
    """Restoring needs the right to manage, and removing bytes at once that of an administrator."""
    life.change("delete", MANAGER, DEMO, FIRST, "")
    deletion, before = harness.opened(seed=6).immediate_deletion, harness.snapshot()

    of_dev = {"dev": ADMIN_OF_DEV, MAIN: MANAGER}
    elsewhere = partial(replace(deletion, index="dev").delete, of_dev.__getitem__, everywhere=True)
    for dry_run in (True, False):
        with pytest.raises(Forbidden):
            life.change("restore", READER, DEMO, FIRST, "", dry_run=dry_run)
        for caller in (READER, MANAGER, OWN_ADMIN):
            callers = {MAIN: caller}
            with pytest.raises(Forbidden):
                deletion.delete(callers.__getitem__, DEMO, WHEEL.sha256, "", dry_run=dry_run)
        with pytest.raises(Forbidden, match="administrators of the server"):
            elsewhere(DEMO, WHEEL.sha256, "", dry_run=dry_run)
    assert harness.snapshot() == before


@pytest.mark.parametrize("is_deleted", [False, True], ids=["listed", "in the trash"])
def test_removal_at_once(harness: IndexHarness, life: Lifecycle, *, is_deleted: bool) -> None:
    """What an administrator removes at once is gone for good, and the journal says so."""
    if is_deleted:
        life.change("delete", ALICE, DEMO, FIRST, "")
    deletion, digest = harness.opened(seed=6).immediate_deletion, WHEEL.sha256.upper()
    remove = partial(deletion.delete, lambda _: ALICE, DEMO, digest, "leaked")
    before = harness.snapshot()
    trial = remove(dry_run=True)
    assert harness.snapshot() == before

    removed = remove()

    assert removed == trial
    assert (removed.files, removed.objects) == ((RemovedFile(MAIN, WHEEL.filename),), 2)
    assert objects_of(harness, WHEEL) == []
    assert len(objects_of(harness, SDIST)) == 2
    project = stored(harness)
    assert WHEEL.filename in project.deleted_filenames
    assert WHEEL.filename not in {file.filename for file in (*project.files, *project.trash)}
    assert project.commit is not None
    assert project.commit.events[-1].deletion.at_once
    assert project.commit.events[-1].reason == "leaked"
    assert harness.check().problems == []
    again = remove()
    assert (again.files, again.objects) == ((), 0)
    assert stored(harness).revision == project.revision
    with pytest.raises(Invalid, match="Use a new version"):
        harness.upload(WHEEL)


@pytest.mark.usefixtures("life")
@pytest.mark.parametrize("foreign", ["note.txt", "old/note.txt"], ids=["beside", "in a folder"])
def test_a_removal_takes_what_lies_beside_the_bytes(harness: IndexHarness, foreign: str) -> None:
    """What somebody else has put beside the bytes of a file goes with them, and stops nothing."""
    folder = keys.files_with_digest(DEMO, WHEEL.sha256)
    harness.store.put(Key(f"{folder}{foreign}"), b"Mine.", None)

    removed = removed_now(harness, WHEEL)

    assert (removed.files, removed.objects) == ((RemovedFile(MAIN, WHEEL.filename),), 3)
    assert not any(key.startswith(folder) for key in harness.snapshot("files/"))
    assert len(objects_of(harness, SDIST)) == 2


def test_all_filenames_with_the_same_bytes_go(harness: IndexHarness) -> None:
    """Files of the same bytes with different names are removed together; other bytes stay."""
    twin = Distribution("demo-1.0-py2-none-any.whl", WHEEL.body)
    for made in (WHEEL, twin, TWO):
        harness.upload(made)
    harness.index.lifecycle.change("delete", ALICE, DEMO, FIRST, "")

    removed = removed_now(harness, WHEEL)

    names = (RemovedFile(MAIN, twin.filename), RemovedFile(MAIN, WHEEL.filename))
    assert (removed.files, removed.objects) == (names, 4)
    project = stored(harness)
    assert [file.filename for file in project.files] == [TWO.filename]
    assert project.deleted_filenames == (twin.filename, WHEEL.filename)
    assert {key.split("/")[2] for key in harness.snapshot("files/")} == {TWO.sha256}


@pytest.mark.parametrize(
    ("name", "digest", "kind", "message"),
    [
        ("demo", "0" * 64, NotFound, "never had one"),
        ("unknown", WHEEL.sha256, NotFound, "never had one"),
        ("demo", WHEEL.sha256[:12], Invalid, "64 hexadecimal digits"),
        ("demo", "../" + WHEEL.sha256, Invalid, "64 hexadecimal digits"),
        ("demo", "", Invalid, "64 hexadecimal digits"),
    ],
)
def test_what_is_no_digest_of_a_file_is_refused(
    harness: IndexHarness, life: Lifecycle, name: str, digest: str, kind: type, message: str
) -> None:
    """A digest that the project never had, or that is malformed, removes nothing."""
    del life
    before = harness.snapshot()

    for everywhere in (False, True):
        with pytest.raises(kind, match=message):
            remove_now(harness.index, digest, name, everywhere=everywhere)

    assert harness.snapshot() == before


@pytest.mark.parametrize("is_known", [True, False], ids=["a removal", "an upload"])
def test_what_a_killed_process_has_left_is_removed(
    harness: IndexHarness, life: Lifecycle, *, is_known: bool
) -> None:
    """Bytes that no index lists, of a removal or an upload that died, go by their digest."""
    indexes, made = TwoIndexes(harness), WHEEL if is_known else make_wheel(version="9.0")
    if is_known:
        removed_now(harness, made)
    revision = stored(harness).revision
    key = keys.distribution(DEMO, made.sha256, made.filename)
    harness.store.put_file(key, made.body)

    removed = remove_now(indexes.prod, made.sha256)

    assert (removed.files, removed.objects) == ((), 1)
    assert harness.store.get(key) is None
    assert stored(harness).revision == revision
    assert len(life.projects.get(DEMO).files) == 3 - is_known


@pytest.mark.parametrize("change", ["listed", "kept", "deleted long ago"])
def test_another_index_is_named_first(harness: IndexHarness, life: Lifecycle, change: str) -> None:
    """Nothing is removed at once while other indexes have the bytes, unless from all of them."""
    list_in(harness, DEV, WHEEL)
    list_in(harness, PROD, WHEEL, SDIST)
    if change != "listed":
        life.change("delete", ALICE, DEMO, FIRST, "")
    if change == "deleted long ago":
        harness.clock.advance(days=40)
        harness.opened(seed=4).server.sweep.run(harness.clock.now)
    deletion, before = harness.opened(seed=6).immediate_deletion, harness.snapshot()

    for dry_run in (True, False):
        with pytest.raises(Conflict, match="dev, prod") as refused:
            deletion.delete(lambda _: ALICE, DEMO, WHEEL.sha256, "", dry_run=dry_run)
        assert refused.value.code == "listed_elsewhere"
    assert harness.snapshot() == before

    removed = removed_now(harness, WHEEL, everywhere=True)

    assert {file.index for file in removed.files} == {MAIN, "dev", "prod"}
    assert objects_of(harness, WHEEL) == []
    assert (listed_in(harness, DEV), listed_in(harness, PROD)) == ([], [SDIST.filename])
    assert harness.check().problems == []
    file = Selection(parse_version("1.0"), frozenset({WHEEL.filename}))
    with pytest.raises(NotFound):
        life.change("restore", ALICE, DEMO, file, "")


@pytest.mark.parametrize(
    ("callers", "named"),
    [
        ({MAIN: ALICE, "dev": READER, "prod": READER}, "indexes: dev, prod. Nothing"),
        ({MAIN: ALICE, "dev": READER, "prod": NOBODY}, "indexes: dev, 1 that you may not read."),
        ({MAIN: ALICE, "dev": NOBODY, "prod": NOBODY}, "indexes: 2 that you may not read."),
        ({MAIN: ALICE, "dev": READER}, "indexes: dev, prod. Nothing"),
        ({MAIN: OWN_ADMIN, "lab": ALICE, "dev": READER}, "indexes: dev, 1 that you may not read."),
    ],
    ids=["both", "one", "none", "one is not served", "one is not served, to another"],
)
def test_indexes_that_nobody_told_are_counted(
    harness: IndexHarness, callers: dict[str, Caller], named: str
) -> None:
    """A refusal names the indexes in which the caller may read the project, and counts others."""
    for prefix in (DEV, PROD):
        list_in(harness, prefix, WHEEL)
    deletion = harness.opened(seed=6).immediate_deletion
    deletion = replace(deletion, index="lab" if "lab" in callers else MAIN)

    def caller_in(index: str) -> Caller:
        if index not in callers:
            raise NotFound("There is no such index.")
        return callers[index]

    with pytest.raises(Conflict) as refused:
        deletion.delete(caller_in, DEMO, WHEEL.sha256, "")

    assert named in refused.value.message
    assert refused.value.code == "listed_elsewhere"


def test_another_file_of_the_same_name_is_no_obstacle(harness: IndexHarness) -> None:
    """A deleted file is removed at once, though another index lists other bytes by its name."""
    indexes, other = TwoIndexes(harness), make_wheel(content=b"other")
    indexes.upload(WHEEL)
    indexes.upload(other, indexes.prod)
    indexes.dev.lifecycle.change("delete", ALICE, DEMO, FIRST, "")

    for everywhere in (False, True):
        remove_now(indexes.dev, WHEEL.sha256, everywhere=everywhere)
        assert indexes.listed()[other.filename].sha256 == other.sha256
        assert {key.split("/")[2] for key in objects_of(harness, WHEEL)} == {other.sha256}


OTHER_BYTES = make_wheel(content=b"other")


def test_the_same_bytes_that_come_to_another_index_are_removed_from_it(
    harness: IndexHarness,
) -> None:
    """A file that was removed for good, and comes to another index, is removed from it as well."""
    indexes = TwoIndexes(harness)
    indexes.upload(WHEEL)
    remove_now(indexes.dev, WHEEL.sha256)
    indexes.upload(WHEEL, indexes.prod)

    with pytest.raises(Conflict, match="prod"):
        remove_now(indexes.dev, WHEEL.sha256)
    removed = remove_now(indexes.dev, WHEEL.sha256, everywhere=True)

    assert removed.files == (RemovedFile("prod", WHEEL.filename),)
    assert harness.snapshot("files/") == {}


def test_removal_from_everywhere_is_asked_of_any_index(
    harness: IndexHarness, life: Lifecycle
) -> None:
    """An index removes from all indexes also what it has never had, and may be asked again."""
    three = make_wheel(version="3.0")
    list_in(harness, DEV, three)
    harness.store.put_file(keys.distribution(DEMO, three.sha256, three.filename), three.body)

    with pytest.raises(Conflict, match="dev"):
        removed_now(harness, three)
    removed_now(harness, three, everywhere=True)

    assert (listed_in(harness, DEV), objects_of(harness, three)) == ([], [])
    assert len(life.projects.get(DEMO).files) == 3
    assert removed_now(harness, three, everywhere=True).files == ()
    with pytest.raises(NotFound):
        removed_now(harness, three)


def test_a_removal_is_repeated_beside_a_damaged_journal(
    harness: IndexHarness, life: Lifecycle
) -> None:
    """A journal that has lost other entries still tells that a file was here and is removed."""
    removed_now(harness, SDIST)
    for number in (1, 3):
        harness.store.delete(commit_key(DEMO, number))

    assert removed_now(harness, SDIST).files == ()
    with refused(NotFound, "not_found", "never had one"):
        removed_now(harness, make_wheel(version="9.0"))
    assert len(life.projects.get(DEMO).files) == 2


def test_one_index_deletes_and_another_serves(harness: IndexHarness, life: Lifecycle) -> None:
    """What one index deletes, another one that lists it goes on to have, and restores nothing."""
    list_in(harness, DEV, WHEEL)
    life.change("delete", ALICE, DEMO, FIRST, "")
    harness.clock.advance(days=60)
    harness.opened(seed=4).server.sweep.run(harness.clock.now)

    assert len(objects_of(harness, WHEEL)) == 2
    assert objects_of(harness, SDIST) == []
    with pytest.raises(NotFound):
        life.change("restore", ALICE, DEMO, FIRST, "")
    assert listed_in(harness, DEV) == [WHEEL.filename]


@pytest.fixture
def begun_promotion(harness: IndexHarness) -> TwoIndexes:
    """A promotion from dev to prod that died between its two commits."""
    indexes = TwoIndexes(harness)
    indexes.upload(WHEEL)
    crash = Fault(FaultKind.CRASH, "put", f"{PROD}{keys.project(DEMO)}")
    with pytest.raises(ProcessCrash):
        indexes.reopened(FakeStore(harness.store, crash)).promote()
    return indexes.reopened()


def test_what_comes_instead_of_a_promoted_file_stays(
    harness: IndexHarness, begun_promotion: TwoIndexes
) -> None:
    """Other bytes that are uploaded instead of a promoted file stay, also just before a removal."""
    deletion = begun_promotion.dev.immediate_deletion

    def projects_of(index: str) -> Projects:
        begun_promotion.upload(OTHER_BYTES, begun_promotion.prod)  # after the removal was planned
        return deletion.projects_of(index)

    busy = replace(deletion, projects_of=projects_of)
    busy.delete(lambda _: ALICE, DEMO, WHEEL.sha256, "", everywhere=True)

    assert [file.sha256 for file in begun_promotion.listed().values()] == [OTHER_BYTES.sha256]
    assert {key.split("/")[2] for key in objects_of(harness, WHEEL)} == {OTHER_BYTES.sha256}


def test_a_public_bucket_deletes_nothing_that_is_being_promoted(
    harness: IndexHarness, begun_promotion: TwoIndexes
) -> None:
    """Where bytes go at once, a release is not deleted until its promotion has ended."""
    life = begun_promotion.dev.lifecycle
    public = replace(life, removal=replace(life.removal, keeps_deleted=False))

    for dry_run in (True, False):
        with pytest.raises(Conflict, match="being promoted to prod"):
            public.change("delete", ALICE, DEMO, FIRST, "", dry_run=dry_run)
    begun_promotion.promote()
    public.change("delete", ALICE, DEMO, FIRST, "")

    assert len(objects_of(harness, WHEEL)) == 2
    assert list(begun_promotion.listed()) == [WHEEL.filename]


def test_a_public_bucket_deletes_what_main_has(harness: IndexHarness) -> None:
    """Where bytes go at once, a release that was promoted to main is deleted in its source."""
    indexes = TwoIndexes(harness)
    indexes.prod = indexes.dev.named(MAIN)
    indexes.upload(WHEEL)
    indexes.promote()
    life = indexes.dev.lifecycle
    public = replace(life, removal=replace(life.removal, keeps_deleted=False))

    public.change("delete", ALICE, DEMO, FIRST, "")

    assert list(indexes.listed()) == [WHEEL.filename]
    assert len(objects_of(harness, WHEEL)) == 2


def test_a_promoted_file_is_restored_and_removed(harness: IndexHarness) -> None:
    """A file that was deleted in the source is served by the target, and removed from both."""
    indexes = TwoIndexes(harness)
    indexes.upload(WHEEL)
    indexes.promote()
    before = indexes.sources.files
    indexes.dev.lifecycle.change("delete", ALICE, DEMO, FIRST, "")
    harness.clock.advance(days=3)
    indexes.dev.lifecycle.change("restore", ALICE, DEMO, FIRST, "")
    assert indexes.sources.files == before

    with pytest.raises(Conflict, match="prod"):
        remove_now(indexes.dev, WHEEL.sha256)
    with pytest.raises(Conflict, match="dev"):
        remove_now(indexes.prod, WHEEL.sha256)
    # a command on a bucket, whose caller is the account of the cloud
    account = replace(ALICE, principal="ci@acme.iam.gserviceaccount.com")
    deletion = indexes.prod.immediate_deletion
    deletion.delete(lambda _: account, DEMO, WHEEL.sha256, "", everywhere=True)
    assert harness.snapshot("files/") == {}


def test_a_removal_leaves_no_rendered_description(
    harness: IndexHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What pages have shown of a removed release is gone from all indexes; the rest stays."""
    monkeypatch.setattr(RenderProcess, "render", lambda *_: {"html": "<p>rendered</p>"})
    indexes = TwoIndexes(harness)
    digests = {}
    for version in ("1.0", "2.0"):
        raw = f"Metadata-Version: 2.2\nName: demo\nVersion: {version}\n\nThe secret {version}\n"
        made = make_wheel(version=version, metadata=raw.encode())
        indexes.upload(made)
        digests[version] = made.sha256
        for index in (indexes.dev, indexes.prod):
            descriptions = Descriptions(index.stores.documents, harness.clock.seconds, waits=True)
            descriptions.render(parse_any(raw.encode(), DEMO, version))
            descriptions.close()
    indexes.promote()
    rendered = [key for key in harness.snapshot("indexes/") if keys.DESCRIPTIONS in key]
    assert len(rendered) == 4

    remove_now(indexes.dev.named(MAIN), digests["1.0"], everywhere=True)

    left = [key for key in harness.snapshot("indexes/") if keys.DESCRIPTIONS in key]
    assert len(left) == 2
    remove_now(indexes.dev, digests["2.0"])
    assert not any(keys.DESCRIPTIONS in key for key in harness.snapshot())


def test_the_setting_of_public_downloads_counts(harness: IndexHarness, life: Lifecycle) -> None:
    """With public downloads, what was kept before goes with the next sweep, and is not restored."""
    life.change("delete", ALICE, DEMO, FIRST, "")
    store = StoreSettings(downloads="public")
    public = harness.opened(seed=5, settings=Settings(store=store))

    assert public.lifecycle.kept_files(stored(harness)) == ()
    with pytest.raises(NotFound, match="everybody can read the bucket"):
        public.lifecycle.change("restore", ALICE, DEMO, FIRST, "")
    assert public.server.sweep.run(harness.clock.now) == 4
    assert public.server.check.run().problems == []
