"""The page of what each project stores."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.distributions import Distribution, make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.http.handlers.admin.administering import (
    GRANTS,
    TABLES,
    TEAM,
    Administrator,
    settings_in,
    text_of,
)
from tests.http.in_process import InProcessServer, in_process
from tests.in_process_network import NetworkOrPorts
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE
from tests.upstream.fake_upstream import running_fake_upstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import file_of
from tests.upstream.settings import close, upstream_section
from tests.waiting import until
from wheelyard.api.usage_operations import ProjectUsage, show_usage
from wheelyard.catalog import keys
from wheelyard.errors import Unavailable
from wheelyard.model.decoding import readable_size
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Status
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.promotion import IndexSide, Promotion
from wheelyard.storage.base import Key
from wheelyard.storage.memory import MemoryStore

PAGE = "storage/"
SMALL, LARGE = make_wheel("demo"), make_wheel("other", "1.0", f"Summary: {'long ' * 90}")


@pytest.fixture
def server_with_files(server: InProcessServer) -> InProcessServer:
    """An index with two projects, of which one has two files."""
    if not server.index.projects.names.get_current().as_set:
        server.publish(SMALL, LARGE, make_wheel("other", "2.0"))
    return server


def size_of(*packages: Distribution) -> int:
    """Return the bytes of some files."""
    return sum(len(package.body) for package in packages)


def test_page_has_each_project(server_with_files: InProcessServer) -> None:
    """Each project has its bytes and files, the largest first, and there are sums."""
    page = Administrator.of(server_with_files).read(PAGE)

    total = size_of(SMALL, LARGE, make_wheel("other", "2.0"))
    assert f"Private projects 2 Files 3 Size {total / 1024:.1f} KiB" in page
    assert page.index(" other ") < page.index(" demo ")
    by_name = Administrator.of(server_with_files).read(f"{PAGE}?sort=name")
    assert by_name.index(" demo ") < by_name.index(" other ")
    assert "page" in Administrator.of(server_with_files).open(f"{PAGE}?page=7&sort=?").body.decode()


def test_usage_follows_each_change(tmp_path: Path) -> None:
    """A deleted file counts no more in what a project stores, and a file in quarantine does."""
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as server:
        server.publish(SMALL, LARGE)
        api, index = Administrator.of(server).api, server.index
        assert api.call(show_usage).bytes == size_of(SMALL, LARGE)
        other = NormalizedName("other")
        index.lifecycle.change("delete", ALICE, other, Selection(parse_version("1.0")), "")
        index.lifecycle.set_status(ALICE, NormalizedName("demo"), Status.QUARANTINED, "")

        usage = api.call(show_usage)

    sizes = (
        ProjectUsage(NormalizedName("demo"), 1, size_of(SMALL)),
        ProjectUsage(other, 0, 0, 1, size_of(LARGE)),
    )
    assert usage.projects == sizes
    assert (usage.files, usage.bytes, usage.unread) == (1, size_of(SMALL), 0)


def test_a_damaged_project_hides_no_usage(tmp_path: Path) -> None:
    """Of a project that cannot be read, deleted files are left out, and the rest is shown."""
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as server:
        server.publish(SMALL, LARGE)
        api, index, other = Administrator.of(server).api, server.index, NormalizedName("other")
        index.lifecycle.change("delete", ALICE, other, Selection(parse_version("1.0")), "")
        assert api.call(show_usage).kept_files == 1

        index.stores.documents.put(keys.project(other), b"?", None)

        assert (api.call(show_usage).bytes, api.call(show_usage).kept_files) == (size_of(SMALL), 0)


def test_a_store_that_does_not_answer_has_no_usage(tmp_path: Path) -> None:
    """While the store does not answer, no sum is shown that lacks what could not be read."""
    store, other = FakeStore(MemoryStore(lambda: 0.0)), NormalizedName("other")
    with in_process(tmp_path, settings_in(tmp_path), store=store, tables=TABLES) as server:
        server.publish(SMALL, LARGE)
        selection = Selection(parse_version("1.0"))
        server.index.lifecycle.change("delete", ALICE, other, selection, "")
    store.follow(Fault(FaultKind.NOT_DONE, "*", keys.PROJECT_NAMES, times=ALWAYS))
    with in_process(tmp_path, settings_in(tmp_path), store=store) as server:
        api = Administrator.of(server).api
        with pytest.raises(Unavailable, match="The store did not answer"):
            api.call(show_usage)
        store.follow()
        assert api.call(show_usage).kept_files == 1
        store.follow(Fault(FaultKind.NOT_DONE, "*", keys.project(other), times=ALWAYS))
        with pytest.raises(Unavailable, match="The store did not answer"):
            api.call(show_usage)


@pytest.mark.parametrize("damaged", ["dev", MAIN])
def test_a_damaged_index_hides_no_other(tmp_path: Path, damaged: str) -> None:
    """An index whose names cannot be read says so with what to do, and the others are shown."""
    put = toml_of(main={"promote_only": False}, index=({"name": "dev"},)) + TABLES
    store = MemoryStore(lambda: 0.0)
    other = "dev" if damaged == MAIN else MAIN
    with in_process(tmp_path, settings_in(tmp_path), store=store, tables=put) as server:
        server.publish_to("dev", make_wheel("ofdev"))
        server.publish(SMALL)
    key = keys.PROJECT_NAMES
    if damaged != MAIN:
        key = Key(f"{keys.index_folder(damaged)}{key}")
    store.put(key, b"?", None)
    with in_process(tmp_path, settings_in(tmp_path), store=store) as server:
        admin = Administrator.of(server)
        pages = {name: admin.read(f"{PAGE}?index={name}") for name in (damaged, other)}
        overview = admin.read("")
        listed = admin.read("indexes/")
        health = admin.read("health/")

    reason = f"{damaged} cannot be read: The document {key} is damaged: JSON is malformed"
    assert all(reason in page for page in pages.values())
    assert "Tell the operator of this index, who can check the store." in pages[other]
    assert "It is missing in the sums." in pages[other]
    assert "Private projects 1 Files 1" in pages[other]
    assert "Private projects" not in pages[damaged]
    assert f"without {damaged}, which cannot be read" in overview
    assert "dev" in listed
    if damaged == "dev":
        assert "index dev failed" in health


def test_page_has_quotas_of_each_index(tmp_path: Path) -> None:
    """Each index has its quotas and what is used, and files that two list count once in total."""
    quotas = {"promote_only": False, "index_size": 1, "project_files": 2}
    tables = ({"name": "prod", "project_files": 1}, {"name": "view", "layers": ["prod"]})
    put = toml_of(main=quotas, index=tables) + TABLES
    with in_process(tmp_path, settings_in(tmp_path), tables=put) as server:
        server.publish(SMALL, LARGE)
        admin, index = Administrator.of(server), server.index
        promotion = Promotion(
            IndexSide(uploads=index.uploads, caller=ALICE),
            IndexSide(uploads=index.named("prod").uploads, caller=ALICE),
            index.server.runtime,
        )
        promotion.promote(NormalizedName("demo"), parse_version("1.0"))
        selection = Selection(parse_version("1.0"))
        index.lifecycle.change("delete", ALICE, NormalizedName("other"), selection, "")
        until(lambda: admin.api.call(show_usage).indexes[0].files == 1)
        usage = admin.api.call(show_usage)
        page, of_prod = admin.read(PAGE), admin.read(f"{PAGE}?index=prod")
        manage = text_of(admin.browser.open("/project/demo/manage/"))
        missing = [admin.open(f"{PAGE}?index={name}") for name in ("nosuch", "view")]

    assert [page.status for page in missing] == [404, 404]
    assert "There is no index" in text_of(missing[0])
    assert "The index view has no packages of its own" in text_of(missing[1])
    (prod,) = usage.indexes
    assert [(project.name, project.share) for project in usage.projects] == [
        ("demo", 0.5),
        ("other", 0),
    ]
    assert [(project.name, project.share) for project in prod.projects] == [("demo", 1)]
    assert (usage.stored_files, usage.stored_bytes) == (2, size_of(SMALL, LARGE))
    assert "0% of the quota At most 1.0 MiB" in page
    assert f"Deleted, can be restored 1 file, {size_of(LARGE) / 1024:.1f} KiB" in page
    assert "100% of the quota" in of_prod
    assert "50% of the quota" in manage


def test_storage_is_for_administrators(server_with_files: InProcessServer) -> None:
    """Who is no administrator does not see what each project stores."""
    assert Administrator.of(server_with_files, "reader").open(PAGE).status == 403
    assert server_with_files.get(f"/-/admin/{PAGE}").status == 401


def test_public_packages_are_one_figure(tmp_path: Path, network: NetworkOrPorts) -> None:
    """What public packages take that are kept is one figure, here and on the page of the health."""
    with running_fake_upstream(network) as upstream:
        package = public_wheel("requests", "1.0")
        upstream.publish(package)
        everybody = {"who": ["anonymous"], "projects": ["*"], "actions": ["read"]}
        access = replace(settings_in(tmp_path).access, private=False)
        settings = settings_in(tmp_path, upstream=upstream_section(upstream), access=access)
        tables = toml_of(main={"read": "granted"}, grant=(*GRANTS, everybody), groups=TEAM)
        with in_process(tmp_path, settings, tables=tables) as server:
            server.publish(SMALL)
            admin = Administrator.of(server)
            assert admin.api.call(show_usage).public_bytes == 0
            assert "Public packages" not in admin.read(PAGE)
            health = admin.read("health/")
            assert "public files ok Public packages that are kept took 0 bytes" in health
            for suffix in ("", ".metadata"):
                fetched = file_of(server, "requests", package.filename, suffix)
                assert fetched.status == 200

            def kept() -> int:
                server.clock.advance(minutes=10)
                return admin.api.call(show_usage).public_bytes

            # what is kept is written while the client has its file already
            until(lambda: kept() == size_of(package) + len(fetched.body))
            size = readable_size(kept())
            page, health = admin.read(PAGE), admin.read("health/")
            assert f"Private projects 1 Files 1 Size {size_of(SMALL)} bytes" in page
            assert f"Public packages that are kept {size}" in page
            assert f"Public packages that are kept took {size} on 2026-01-01" in health
            close(server.index)
