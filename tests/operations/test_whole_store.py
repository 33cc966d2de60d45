"""Check, sweep and copy of a store that has several indexes, whoever defines them."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from packaging.utils import NormalizedName

from tests.advice import in_terminal
from tests.distributions import make_wheel
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN, IndexHarness
from tests.operations.store_copies import copy_whole
from wheelyard.api.journal_operations import (
    JournalQuery,
    list_entries,
)
from wheelyard.api.local_api import LocalApi
from wheelyard.api.usage_operations import show_usage
from wheelyard.catalog import keys
from wheelyard.catalog.opening import Catalog
from wheelyard.catalog.removed import CHANGED_PASSWORDS
from wheelyard.downloads.reading import Downloads
from wheelyard.errors import NotFound, Unavailable
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Project
from wheelyard.storage.base import Key
from wheelyard.wiring.index import Index

DEMO: Final = NormalizedName("demo")
FILES: Final = f"{keys.FILES}demo/"


def with_files(harness: IndexHarness) -> Index:
    """Return an index with `dev` and `qa`, with a file in each."""
    tables = toml_of(main=OPEN_MAIN, index=({"name": "dev"}, {"name": "qa"}))
    harness.index = index = harness.opened(3, tables=tables)
    for number, name in enumerate(("dev", "qa")):
        made = make_wheel(version=f"{number}.0")
        index.named(name).uploads.accept(made.arrival(harness.folder), ALICE)
    return index


def test_a_sweep_keeps_what_an_index_lists_that_it_does_not_know(harness: IndexHarness) -> None:
    """A process that does not know an index removes none of its files, and no orphan less."""
    with_files(harness)
    harness.lose("dev")
    orphan = Key(f"{FILES}{'0' * 64}/demo-2.0-py3-none-any.whl")
    harness.store.put(orphan, b"left", None)
    harness.upload(make_wheel("other"))
    before = harness.snapshot(FILES)
    harness.clock.advance(days=3)
    unaware = harness.opened(5)

    swept = unaware.server.sweep.run(harness.clock.now)

    assert swept == 1
    assert harness.snapshot(FILES) == {key: body for key, body in before.items() if key != orphan}
    assert harness.check(sweep=True).swept == 0
    assert set(harness.snapshot(FILES)) == set(before) - {orphan}


def test_check_looks_at_every_index(harness: IndexHarness) -> None:
    """Damage in an index is reported with its name, also by a process that does not know it."""
    with_files(harness)
    harness.lose("dev")
    clean = harness.check()
    assert (clean.problems, clean.notes, clean.projects, clean.files) == ([], [], 2, 2)
    prefix = keys.index_folder("dev")
    harness.store.delete(Key(f"{prefix}{keys.PROJECT_NAMES}"))
    assert harness.check().repaired == ["index dev: added to the list of projects: demo"]
    harness.store.delete(Key(f"{prefix}{keys.project(DEMO)}"))
    (problem,) = harness.check().problems
    assert problem.startswith("index dev: indexes/dev/projects/demo.json is missing")
    assert harness.check(rebuild=True).repaired == [
        "index dev: indexes/dev/projects/demo.json: written again from its journal"
    ]
    (lost,) = (key for key in harness.snapshot(FILES) if "demo-1.0" in key and "meta" not in key)

    harness.store.delete(Key(lost))

    (problem,) = harness.check().problems
    assert problem.startswith(f"index qa: demo: {lost} is missing")


def test_check_reads_a_file_of_two_indexes_once(harness: IndexHarness) -> None:
    """A file that two indexes list counts in both, and its bytes are read once."""
    index = with_files(harness)
    index.named("qa").uploads.accept(make_wheel(version="0.0").arrival(harness.folder), ALICE)

    findings = harness.check()

    assert (findings.problems, findings.files) == ([], 3)
    assert findings.size == sum(map(len, harness.snapshot(FILES).values()))


def last_downloads(catalog: Catalog) -> object:
    """Ask for the counts of downloads of an index."""
    store, runtime = catalog.stores.documents, catalog.retries.runtime
    return Downloads(store, runtime, None, is_local=True).last_downloads(1)


def first_commit(catalog: Catalog) -> object:
    """Read the first commit of a project that may have more."""
    return catalog.projects.journal(Project(name=DEMO)).read(1)


@pytest.mark.parametrize(
    ("key", "body", "ask"),
    [
        *(
            (keys.project(DEMO), body, lambda catalog: catalog.projects.get(DEMO))
            for body in (b"?", None)
        ),
        *((keys.commit(DEMO, 1), body, first_commit) for body in (b"?", None)),
        *((keys.CHANGES, body, lambda catalog: catalog.changes.newest()) for body in (b"?", None)),
        (keys.downloads_of_month("2026-01"), b"?", last_downloads),
    ],
)
def test_a_message_names_the_document_of_the_index(
    harness: IndexHarness, key: Key, body: bytes | None, ask: Callable[[Catalog], object]
) -> None:
    """Who reads that a document is damaged or lost takes that of no other index for it."""
    index = with_files(harness)
    index.named("dev").changes.newest()
    whole_key = Key(f"{keys.index_folder('dev')}{key}")
    harness.store.put(whole_key, body or b"", None)
    if body is None:
        harness.store.delete(whole_key)

    with pytest.raises(Unavailable, match=re.escape(whole_key)):
        ask(harness.opened(4).server.indexes.catalog_of("dev"))


def test_usage_has_indexes_that_the_process_does_not_know(harness: IndexHarness) -> None:
    """What a store has in all of its indexes is counted, also by a process that knows only some."""
    aware = with_files(harness)
    whole = LocalApi(index=aware, caller=ALICE).call(show_usage)
    harness.lose("dev")
    unaware = harness.opened(4)
    administration = unaware.server.index_administration
    administration.add({"name": "gone"}, "local:bo")
    administration.remove("gone", "local:bo")

    usage = LocalApi(index=unaware, caller=ALICE).call(show_usage)

    assert [(index.index, index.files) for index in usage.indexes] == [("dev", 1), ("qa", 1)]
    assert (usage.stored_files, usage.stored_bytes) == (whole.stored_files, whole.stored_bytes)
    assert usage.stored_files == 2


def test_check_names_indexes_that_do_not_fit(harness: IndexHarness) -> None:
    """An index that is not served, as a layer is missing, is a problem of the check."""
    qa = {"name": "qa", "layers": ["qa", "dev"]}
    harness.opened(3, tables=toml_of(index=(qa, {"name": "dev"})))
    harness.lose("dev")

    (problem,) = harness.check().problems

    assert "'dev' is no index of this store" in problem


def test_a_copy_takes_all_indexes_along(harness: IndexHarness, tmp_path: Path) -> None:
    """A copy has each index with its packages, a later one what is new; a problem is said once."""
    source, other = with_files(harness), IndexHarness(tmp_path)

    def copied() -> tuple[int, int, list[str]]:
        report = copy_whole(source, other.opened(6))
        return report.projects, report.objects, report.problems

    assert copied() == (2, 4, [])
    target = other.opened(7)
    assert [index.name for index in target.server.indexes.all()] == [MAIN, "dev", "qa"]
    assert target.named("qa").projects.get(DEMO).files
    assert other.snapshot(keys.index_folder("dev")).keys() >= {"indexes/dev/projects/demo.json"}
    assert (other.check().problems, other.check().notes) == ([], [])
    assert copied() == (2, 0, [])
    harness.clock.advance(seconds=timedelta(minutes=1).total_seconds())
    new = make_wheel(version="3.0").arrival(harness.folder)
    source.named("dev").uploads.accept(new, ALICE)
    assert copied() == (2, 2, [])
    # all indexes have the same credentials
    harness.store.put(CHANGED_PASSWORDS, b"{", None)
    _, _, (problem,) = copied()
    assert problem.startswith(f"{CHANGED_PASSWORDS}: ")


def test_one_journal_of_all_indexes(harness: IndexHarness) -> None:
    """The journal of everything has the projects of each index, with its name, and can go on."""
    index = with_files(harness)
    harness.clock.advance(seconds=1)
    harness.upload(make_wheel("other"))
    caller = LocalApi(index=index, caller=ALICE)

    entries, before = list[tuple[str, str | None, str]](), ""
    while not entries or before:
        page = caller.call(list_entries, JournalQuery(before=before, limit=1))
        entries += ((entry.in_index, entry.project, entry.what) for entry in page.entries)
        before = page.next

    assert entries[0] == (MAIN, "other", "uploaded")
    assert sorted(entries[1:]) == [
        ("", None, "index-made"),
        ("", None, "index-made"),
        ("", None, "main-changed"),
        ("dev", "demo", "uploaded"),
        ("qa", "demo", "uploaded"),
    ]
    of_dev = caller.call(list_entries, JournalQuery(index="dev")).entries
    assert [(entry.in_index, entry.project) for entry in of_dev] == [("dev", "demo")]


def test_the_journal_of_an_index_that_does_not_exist(harness: IndexHarness) -> None:
    """Whoever asks for the journal of an index that there is not hears where indexes are listed."""
    caller = LocalApi(index=harness.index, caller=ALICE)

    with pytest.raises(NotFound, match="There is no index 'nope'") as unknown:
        caller.call(list_entries, JournalQuery(index="nope"))
    assert "'wheelyard index list'" in in_terminal(unknown.value)
