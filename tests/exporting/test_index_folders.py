"""The folders of other indexes in a site: which stay, and what of them is deleted."""

import re
from pathlib import Path
from random import Random
from shutil import rmtree
from typing import Any

import pytest
from packaging.utils import NormalizedName

from tests.distributions import make_wheel
from tests.exporting.export_fixture import ignore, publish
from tests.exporting.sites import MANIFEST, tree
from tests.fake_store import FakeStore, Fault, FaultKind
from tests.fake_time import START, Clock
from tests.index_tables import put_tables, toml_of
from wheelyard.catalog import keys
from wheelyard.errors import Invalid, NotFound, Unavailable
from wheelyard.exporting.export import Export, ExportResult, open_export
from wheelyard.exporting.site_folder import RequestedOptions, SiteLease
from wheelyard.exporting.site_pages import SitePlace
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import IndexRemoved
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.base import Key, Stores
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index, open_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import system_runtime

DEV = {"name": "dev"}
PROD = {"name": "prod", "layers": ["prod", "dev"]}
DEMO = NormalizedName("demo")


class Sites:
    """A store whose indexes are exported to one site."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.site, self.store = folder, folder / "site", folder / "store"

    @property
    def settings(self) -> Settings:
        """The settings, which say where the store is."""
        return Settings(store=StoreSettings(location=str(self.store)))

    def opened(self, *tables: dict[str, Any]) -> Index:
        """Return the index as a process has it, once the store has these indexes, too."""
        index = open_index(self.settings)
        put_tables(index, toml_of(index=tables))
        return index

    def forget(self) -> None:
        """Let the store have no index, as if an earlier version had them in its settings."""
        (self.store / keys.INDEX_LIST).unlink()
        rmtree(self.store / keys.INDEX_LIST_JOURNAL)

    def lose(self, name: str) -> None:
        """Take an index out of the store without a look at what it has, and who has it."""
        gone = IndexRemoved(at=START, by="local:bo", name=name)
        self.opened().server.definitions.records.change(lambda _: (gone,))

    def export(
        self, *tables: dict[str, Any], everything: bool = False, files_url: str | None = None
    ) -> ExportResult:
        """Export all indexes, and return the result of the first."""
        requested = RequestedOptions(files_url=files_url)
        results = list[ExportResult]()
        for index in self.opened(*tables).server.indexes.all():
            place = str(self.site / index.definition.path)
            export = open_export(index, place, requested, lambda: None)
            results.append(export.run(lambda *_: None, everything=everything))
        return results[0]

    def export_to_bucket(self) -> tuple[ExportResult, set[str]]:
        """Export what is in the site to objects, and return the result and their paths."""
        index, store = self.opened(), MemoryStore(Clock().seconds)
        for path in self.site.rglob("*"):
            if path.is_file():
                store.put(Key(str(path.relative_to(self.site))), path.read_bytes(), None)
        place, lease = (
            SitePlace(store, index.server.spool, ""),
            SiteLease(store, index.server.runtime, ignore),
        )
        export = Export(index=index, place=place, lease=lease, requested=RequestedOptions())
        return export.run(ignore, everything=True), set(tree(store))

    def publish_to(self, name: str, *tables: dict[str, Any]) -> None:
        """Upload a wheel to an index."""
        publish(self.opened(*tables).named(name), self.folder, make_wheel("demo"))

    def files_of(self, name: str) -> set[str]:
        """Return the paths of all files in the folder of an index."""
        return set(tree(self.site / name))


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """A store with one package in the index dev."""
    sites = Sites(tmp_path)
    sites.publish_to("dev", DEV)
    return sites


@pytest.mark.slow
def test_an_export_without_the_definitions_deletes_no_index(sites: Sites) -> None:
    """An index whose definition is gone stays in the site and on its home page, with a warning."""
    sites.export(DEV, PROD)
    before = tree(sites.site)
    sites.forget()
    sites.publish_to(MAIN)

    for _ in range(2):
        result = sites.export()

        assert len(result.warnings) == 2
        assert "dev/ of the site stays as it is" in result.warnings[0]
        assert {
            path: tree(sites.site)[path] for path in before if path[:4] in {"dev/", "prod"}
        } == {path: before[path] for path in before if path[:4] in {"dev/", "prod"}}
        home = (sites.site / "index.html").read_text()
        assert '<a href="./dev/">dev</a>' in home
        assert 'href="project/demo/"' in home.replace("./", "")
    assert sites.export(DEV, PROD).warnings == ()


@pytest.mark.slow
def test_an_index_that_is_not_served_stays_in_the_site(sites: Sites) -> None:
    """An index of the store whose layer is missing for now stays, and the warning says why."""
    sites.export(DEV, PROD)
    sites.lose("dev")

    result = sites.export()

    assert any(
        "prod/" in line and "'dev' is no index of this store" in line for line in result.warnings
    )
    assert "simple/demo/index.html" in sites.files_of("prod")
    assert sites.export(everything=True).warnings == result.warnings
    assert "simple/demo/index.html" in sites.files_of("prod")


def test_an_index_that_is_not_served_is_left_out_with_a_warning(sites: Sites) -> None:
    """An index that no export has written yet is named with what is wrong, each time."""
    sites.opened(DEV, PROD)
    sites.lose("dev")

    for _ in range(2):
        (warning,) = sites.export().warnings

        assert "prod is left out of the site" in warning
        assert "'dev' is no index of this store" in warning
    assert not (sites.site / "prod").exists()


def test_a_lost_list_of_indexes_deletes_no_index(sites: Sites) -> None:
    """Without the list of indexes in the store, nothing is exported, and the site stays."""
    sites.opened().server.index_administration.add({"name": "qa"}, "local:bo")
    sites.export(DEV)
    before = tree(sites.site)
    (sites.store / keys.INDEX_LIST).unlink()

    with pytest.raises(Unavailable, match="is lost"):
        sites.export()

    assert tree(sites.site) == before


def test_the_folder_of_a_removed_index_goes(sites: Sites) -> None:
    """Once a command has removed an index, an export deletes what exports have made of it."""
    sites.opened().server.index_administration.add({"name": "qa"}, "local:bo")
    sites.export()
    (sites.site / "qa" / "notes.txt").write_text("theirs")
    sites.opened().server.index_administration.remove("qa", "local:bo")

    result = sites.export()

    assert (result.warnings, result.removed) == ((), ("qa",))
    assert sites.files_of("qa") == {"notes.txt"}
    assert "qa" not in (sites.site / "index.html").read_text()


def test_files_of_others_in_the_folder_of_a_removed_index_stay(sites: Sites) -> None:
    """Where a site links to files elsewhere, no file in the folder of an index is deleted."""
    theirs = f"files/demo/{'0' * 64}/demo-1.0.tar.gz"
    sites.opened().server.index_administration.add({"name": "qa"}, "local:bo")
    sites.export(files_url="https://files.acme.dev")
    (sites.site / "qa" / theirs).parent.mkdir(parents=True)
    (sites.site / "qa" / theirs).write_text("theirs")
    sites.opened().server.index_administration.remove("qa", "local:bo")

    assert sites.export().removed == ("qa",)

    assert sites.files_of("qa") == {theirs}


def test_a_store_that_does_not_answer_ends_the_export(sites: Sites) -> None:
    """If the store does not say whether it has packages of an index, nothing is exported."""
    sites.export(DEV)
    sites.lose("dev")
    before = tree(sites.site)
    away = Fault(FaultKind.NOT_DONE, "list", f"{keys.index_folder('dev')}{keys.PROJECTS}")
    store = FakeStore(LocalStore(sites.store, Random()), away)
    spool = Spool(sites.folder)
    index = build_index(Stores.of(store), spool, sites.settings, system_runtime())

    with pytest.raises(Unavailable, match="did not answer"):
        open_export(index, str(sites.site), RequestedOptions(), ignore).run(ignore, everything=True)

    assert tree(sites.site) == before


@pytest.mark.parametrize("everything", [False, True])
def test_an_index_with_packages_stays_in_the_site(sites: Sites, *, everything: bool) -> None:
    """Where a definition is gone and packages are left, the folder stays, with a warning."""
    sites.export(DEV)
    sites.lose("dev")

    result = sites.export(everything=everything)

    assert (len(result.warnings), result.removed) == (1, ())
    assert "as the store has its packages" in result.warnings[0]
    assert "simple/demo/index.html" in sites.files_of("dev")


def test_an_export_of_everything_deletes_what_no_index_has(sites: Sites) -> None:
    """The folder of an index without packages that nobody has removed goes with `--all`."""
    sites.export(DEV, PROD)
    sites.forget()

    assert sites.export(DEV).removed == ()
    result = sites.export(DEV, everything=True)

    assert (result.warnings, result.removed) == ((), ("prod",))
    assert not (sites.site / "prod").exists()
    assert sites.export(DEV).removed == ()


def test_a_view_lists_what_it_shows(sites: Sites) -> None:
    """The folder of a view has the projects of which the view shows a file, and no others."""
    publish(sites.opened().named("dev"), sites.folder, make_wheel("other"))
    sites.export({"name": "only", "layers": ["dev"], "allow": ["demo"]})

    folders = {path.partition("/")[0] for path in sites.files_of("only/simple") if "/" in path}
    assert folders == {"demo"}


@pytest.mark.slow
@pytest.mark.parametrize("is_bucket", [False, True])
@pytest.mark.parametrize("content", [None, b"{"], ids=["removed", "damaged"])
def test_a_lost_manifest_hides_no_folder_of_an_index(
    sites: Sites, content: bytes | None, *, is_bucket: bool
) -> None:
    """Without the manifest of the site, the folders of removed indexes go all the same."""
    sites.opened().server.index_administration.add({"name": "qa"}, "local:bo")
    sites.export(DEV)
    sites.forget()
    (sites.site / MANIFEST).unlink()
    if content is not None:
        (sites.site / MANIFEST).write_bytes(content)
    (sites.site / "theirs").symlink_to(sites.site / "dev")
    (sites.site / "handbook").mkdir()
    (sites.site / "handbook" / "index.html").write_text("theirs")
    before = {path for path in tree(sites.site) if path.startswith(("dev/", "handbook/"))}

    if is_bucket:
        result, left = sites.export_to_bucket()
    else:
        result, left = sites.export(everything=True), set(tree(sites.site))

    assert result.removed == ("qa",)
    assert len(result.warnings) == 1
    assert "dev/ of the site stays as it is" in result.warnings[0]
    assert {path for path in left if path.startswith(("dev/", "handbook/", "qa/"))} == before


def test_an_index_that_cannot_be_read_stays_in_the_site(sites: Sites) -> None:
    """If a document of an index is damaged, it may list files, and the folder stays."""
    sites.export(DEV)
    sites.forget()
    (sites.store / f"{keys.index_folder('dev')}{keys.project(DEMO)}").write_text("{")

    assert "dev/ of the site stays as it is" in sites.export(everything=True).warnings[0]

    assert "simple/demo/index.html" in sites.files_of("dev")


def test_a_folder_that_its_owner_deletes_is_forgotten(sites: Sites) -> None:
    """Once the folder of an index that there is no more is deleted, the home page has no link."""
    sites.export(DEV)
    sites.forget()
    rmtree(sites.site / "dev")

    assert sites.export().warnings == ()

    assert "dev/" not in (sites.site / "index.html").read_text()


@pytest.mark.parametrize("is_other_site", [False, True])
def test_what_no_export_of_the_index_has_made_stays(sites: Sites, *, is_other_site: bool) -> None:
    """The folder of somebody else, which had the name of a removed index, stays as it is."""
    handbook = sites.site / "handbook"
    if is_other_site:
        export = open_export(sites.opened(), str(handbook), RequestedOptions(), lambda: None)
        export.run(lambda *_: None)
    else:
        (handbook / "simple").mkdir(parents=True)
        (handbook / "simple" / "index.html").write_text("theirs")
        (handbook / "index.html").write_text("theirs")
    before = sites.files_of("handbook")
    sites.opened().server.index_administration.add({"name": "handbook"}, "local:bo")
    with pytest.raises(Invalid, match=r"the site of all|Where the index handbook"):
        sites.export()
    sites.opened().server.index_administration.remove("handbook", "local:bo")
    with pytest.raises(NotFound):
        sites.opened().named("handbook")

    sites.export()

    assert sites.files_of("handbook") == before


def test_one_index_is_not_written_over_the_site_of_all(sites: Sites) -> None:
    """An index that is exported alone has a place of its own, and the error says what to do."""
    sites.export(DEV)
    dev = sites.opened(DEV).named("dev")

    with pytest.raises(Invalid, match=r"the site of all indexes.*then export all"):
        open_export(dev, str(sites.site), RequestedOptions(), lambda: None)

    alone = open_export(dev, str(sites.folder / "alone"), RequestedOptions(), lambda: None)
    assert alone.run(lambda *_: None).total == 1


def test_a_moved_store_takes_its_site_over(sites: Sites) -> None:
    """A site of a moved store is taken over once each manifest that the error names is gone."""
    sites.export(DEV)
    sites.store = sites.store.rename(sites.folder / "moved")

    for folder in (sites.site, sites.site / "dev"):
        manifest = folder / MANIFEST
        with pytest.raises(Invalid, match=f"remove {manifest}, and export with --all"):
            sites.export(DEV, everything=True)
        manifest.unlink()

    assert sites.export(DEV, everything=True).warnings == ()
    assert sites.export(DEV).written == 0


def test_no_index_has_the_name_of_the_folder_of_manifests(sites: Sites) -> None:
    """The folder in which an export keeps its manifest is no folder of an index."""
    with pytest.raises(Invalid, match="cannot be the name of an index"):
        sites.opened({"name": "wheelyard-export"})


def test_pages_of_a_site_have_the_mark_of_their_index(sites: Sites) -> None:
    """A site of several indexes has the mark of each on its pages, and no switch between them."""
    sites.export(DEV, PROD)

    marks = dict[str, str]()
    for folder in ("", "dev", "prod"):
        pages = [path for path in (sites.site / folder).glob("*.html") if path.stem != "404"]
        pages += (sites.site / folder).glob("project/**/*.html")
        for page in pages:
            (mark,) = re.findall(r'<span class="index hue-\d">(\w+)</span></a>', page.read_text())
            marks.setdefault(folder, mark)
            assert mark == marks[folder]
            assert 'class="places"' not in page.read_text()
    assert marks == {"": "main", "dev": "dev", "prod": "prod"}


def test_a_site_of_one_index_has_no_mark(sites: Sites) -> None:
    """A site of main alone has no mark of an index."""
    sites.lose("dev")
    sites.publish_to(MAIN)
    sites.export()

    for page in sites.site.rglob("*.html"):
        assert 'class="index' not in page.read_text()
