"""Several indexes on one server: their paths, layers, files and memory, by requests."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.json import decode, encode
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.http.remote_store import RemoteStore
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN
from wheelyard.api.table import OPERATIONS
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.errors import Forbidden, Invalid
from wheelyard.http.routing import Route
from wheelyard.model.access import Action, parse_right_indexes
from wheelyard.model.grants import GrantFields
from wheelyard.model.index_name import MAIN, RESERVED_INDEX_NAMES
from wheelyard.model.project import Status
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import AccessSettings, HttpSettings, Settings
from wheelyard.storage.base import Stored
from wheelyard.storage.memory import MemoryStore

JSON: Final = ("Accept", "application/vnd.pypi.simple.v1+json")
INDEXES: Final = (
    {"name": "dev", "layers": ["dev", "main"]},
    {"name": "prod", "layers": ["prod", "dev"], "merge": ["acme-*"]},
    {"name": "view", "layers": ["prod", ""]},
    {"name": "all", "layers": ["prod", "dev", ""], "merge": ["acme-*"]},
    {"name": "finals", "layers": ["prod"], "prereleases": False},
)
OPEN: Final = tuple({**table, "read": "anyone"} for table in INDEXES)
OF_PROJECTS: Final = (
    *("yank", "unyank", "pin", "unpin", "delete", "delete-now", "restore"),
    *("status", "reserve", "release", "promote"),
)
OF_EACH_INDEX: Final = {
    *("GET projects", "GET projects/{name}", "GET projects/{name}/journal"),
    *(
        "GET projects/{name}/downloads",
        "GET projects/{name}/provenance",
        "GET changes",
        "GET client-projects",
        "GET names",
    ),
    *("GET usage", "GET whoami", "GET upstream/why"),
    *(f"POST projects/{{name}}/{verb}" for verb in OF_PROJECTS),
}
"""The operations that are about one index."""
DEMO = NormalizedName("demo")
HTML: Final = ("Accept", "text/html")
OLD, NEW = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """Yield a server with indexes beside main, which anybody may read."""
    with in_process(tmp_path, Settings(), tables=toml_of(main=OPEN_MAIN, index=OPEN)) as running:
        yield running


def _versions(server: InProcessServer, path: str) -> list[str]:
    answer = server.get(path, JSON)
    page: dict[str, Any] = decode(answer.body) if answer.status == 200 else {"versions": []}
    return [str(version) for version in page["versions"]]


def _names(server: InProcessServer, path: str) -> list[str]:
    page = decode(server.get(path, JSON).body)
    return [project["name"] for project in page["projects"]]


@pytest.mark.parametrize(
    "path", ["main/", "main/simple/", "main/simple/demo/", "main/legacy/", "main/api/v1/projects"]
)
def test_the_name_of_main_is_no_path(server: InProcessServer, path: str) -> None:
    """The index at the root has a name, which is in none of its URLs."""
    server.publish_to(MAIN, OLD)

    answer = server.get(f"/{path}", JSON)

    unknown = server.get(f"/nosuch/{path[5:]}", JSON).body
    assert answer.status == 404
    assert answer.body.replace(b"main", b"nosuch") == unknown
    assert b"/main/" not in server.get("/setup/", ("Accept", "text/html")).body


@pytest.mark.parametrize("path", ["/pypi/demo/json", "/api/v1/projects/demo"])
def test_a_server_with_main_alone_names_no_other_index(tmp_path: Path, path: str) -> None:
    """Who asks for a project that is not there hears of other indexes only if there are some."""
    with in_process(tmp_path) as server:
        missing = server.get(path)

    assert missing.status == 404
    assert "about the index main" not in decode(missing.body)["message"]


def test_each_index_has_its_own_packages(server: InProcessServer) -> None:
    """What is published to one index is in that index, and in those that have it as a layer."""
    server.publish_to("prod", OLD)

    assert _versions(server, "/simple/demo/") == []
    assert _versions(server, "/dev/simple/demo/") == []
    assert _versions(server, "/prod/simple/demo/") == ["1.0"]
    assert _versions(server, "/view/simple/demo/") == ["1.0"]
    assert (_names(server, "/simple/"), _names(server, "/view/simple/")) == ([], ["demo"])


@pytest.mark.parametrize(
    "path", ["/pypi/demo/json", "/api/v1/projects/demo", "/api/v1/upstream/why?project=demo"]
)
def test_what_main_lacks_may_be_in_another_index(server: InProcessServer, path: str) -> None:
    """Whoever asks main for a project that it does not have hears which other indexes there are."""
    server.publish_to("prod", NEW)

    missing = decode(server.get(path).body)

    assert (
        "This is about the index main: there are also all, dev, finals, prod, view."
        in missing["message"]
    )
    assert server.get(f"/prod{path}").status == 200
    elsewhere = server.get(f"/dev{path}")
    assert elsewhere.status == 404
    assert b"there are also" not in elsewhere.body


def test_an_upload_to_an_unknown_index_says_where_indexes_are_listed(
    server: InProcessServer,
) -> None:
    """Who uploads to an index that is not there is told how to list the indexes."""
    answer = server.get("/nosuch/legacy/", method="POST")

    assert answer.status == 404
    assert decode(answer.body)["advice"] == {"remedy": "list_indexes"}


@pytest.mark.parametrize("path", ["/dev/simple/demo/", "/prod/simple/demo/"])
def test_the_first_layer_hides_those_below(server: InProcessServer, path: str) -> None:
    """Versions of two layers are never mixed: the first that has the name counts."""
    server.publish_to(MAIN, OLD)
    before = _versions(server, path)
    server.publish_to("dev", NEW)

    assert before == ["1.0"]
    assert _versions(server, path) == ["2.0"]
    assert _versions(server, "/simple/demo/") == ["1.0"]


def test_names_that_are_merged_have_the_files_of_all_layers(server: InProcessServer) -> None:
    """For a name in `merge` all layers count, and the first one for a filename in several."""
    upper, lower = (make_wheel("acme_x", "1.0", content=text) for text in (b"upper", b"lower"))
    server.publish_to("prod", upper)
    server.publish_to("dev", lower, make_wheel("acme_x", "2.0"))

    page = decode(server.get("/prod/simple/acme-x/", JSON).body)
    why = decode(server.get("/prod/api/v1/upstream/why?project=acme-x&version=1.0").body)

    assert page["versions"] == ["1.0", "2.0"]
    assert why["files"][0]["sha256"] == upper.sha256
    assert page["files"][0]["hashes"]["sha256"] == upper.sha256
    assert server.get(f"/prod/files/acme-x/{upper.sha256}/{upper.filename}").body == upper.body
    assert server.get(f"/prod/files/acme-x/{lower.sha256}/{lower.filename}").status == 404


def test_a_merged_index_does_not_show_what_was_deleted_in_it(server: InProcessServer) -> None:
    """A file that is deleted in the index is not shown from a layer that lists it, too."""
    shared = make_wheel("acme_x", "1.0")
    server.publish_to("prod", shared, make_wheel("acme_x", "1.1"))
    server.publish_to("dev", shared, make_wheel("acme_x", "2.0"))
    server.index.named("prod").lifecycle.change(
        "delete", ALICE, NormalizedName("acme-x"), Selection(Version("1.0")), ""
    )

    why = decode(server.get("/prod/api/v1/upstream/why?project=acme-x&version=1.0").body)

    assert _versions(server, "/prod/simple/acme-x/") == ["1.1", "2.0"]
    path = f"files/acme-x/{shared.sha256}/{shared.filename}"
    assert (server.get(f"/prod/{path}").status, server.get(f"/dev/{path}").status) == (404, 200)
    assert why["files"][0]["reasons"][0]["text"] == "The index prod has deleted it."


def test_the_status_of_the_first_layer_counts_for_all_that_are_merged(
    server: InProcessServer,
) -> None:
    """A merged project that is in quarantine in its first layer has no files, and `why` says so."""
    server.publish_to("prod", make_wheel("acme_x", "1.0"))
    server.publish_to("dev", make_wheel("acme_x", "2.0"))
    lifecycle, name = server.index.named("prod").lifecycle, NormalizedName("acme-x")
    lifecycle.set_status(ALICE, name, Status.QUARANTINED, "")

    why = decode(server.get("/prod/api/v1/upstream/why?project=acme-x").body)

    assert _versions(server, "/prod/simple/acme-x/") == []
    assert [file["shown"] for file in why["files"]] == [False, False]


def test_why_explains_a_file_that_no_layer_shows_as_in_the_first(server: InProcessServer) -> None:
    """A file of two layers that neither shows is explained by the first layer that has it."""
    shared = make_wheel("acme_x", "1.0")
    for layer in ("prod", "dev"):
        server.publish_to(layer, shared)
        lifecycle = server.index.named(layer).lifecycle
        lifecycle.set_status(ALICE, NormalizedName("acme-x"), Status.QUARANTINED, "")

    why = decode(server.get("/prod/api/v1/upstream/why?project=acme-x").body)

    (file,) = why["files"]
    assert [reason["text"] for reason in file["reasons"]] == ["The project is quarantined."]


def test_a_file_in_quarantine_is_not_replaced_by_one_of_a_lower_layer(
    server: InProcessServer,
) -> None:
    """Other bytes of the same name do not take the place of a file of a quarantined project."""
    server.publish_to("prod", make_wheel("acme_x", "2.0"))
    server.publish_to("dev", make_wheel("acme_x", "1.0", content=b"dev"))
    server.publish_to(MAIN, make_wheel("acme_x", "1.0"), make_wheel("acme_x", "1.1"))
    lifecycle, name = server.index.named("dev").lifecycle, NormalizedName("acme-x")
    before = _versions(server, "/all/simple/acme-x/")
    lifecycle.set_status(ALICE, name, Status.QUARANTINED, "malware")

    why = decode(server.get("/all/api/v1/upstream/why?project=acme-x&version=1.0").body)

    assert before == ["1.0", "1.1", "2.0"]
    assert _versions(server, "/all/simple/acme-x/") == ["1.1", "2.0"]
    assert [file["shown"] for file in why["files"]] == [False]


def test_layers_that_lead_to_the_same_index_cost_no_more(tmp_path: Path) -> None:
    """An index of which many layers have the same layers reads each of them once."""
    names = [f"i{number}" for number in range(24)]
    keys_of_all = {"merge": ["demo"], "read": "anyone"}
    tables = tuple(
        {"name": name, "layers": names[max(0, number - 12) : number] or [name], **keys_of_all}
        for number, name in enumerate(names)
    )
    with in_process(tmp_path, Settings(), tables=toml_of(main=OPEN_MAIN, index=tables)) as server:
        server.publish_to("i0", OLD)

        assert _versions(server, "/i23/simple/demo/") == ["1.0"]
        assert _versions(server, "/i23/simple/nothing/") == []
        assert _names(server, "/i23/simple/") == ["demo"]


@pytest.mark.parametrize("name", ["prod", "view", "finals"])
def test_lists_have_the_newest_release_of_all_layers_that_are_merged(
    server: InProcessServer, name: str
) -> None:
    """A search finds the newest release of a merged name, whichever layer it is published to."""
    server.publish_to("prod", make_wheel("acme_x", "1.0rc1"), make_wheel("other", "1.0"))
    before = decode(server.get(f"/{name}/search.json").body)
    server.publish_to("dev", make_wheel("acme_x", "2.0"), make_wheel("other", "2.0"))

    found = decode(server.get(f"/{name}/search.json").body)

    hidden = [] if name == "finals" else [["acme-x", "1.0rc1", ""]]
    assert before == [*hidden, ["other", "1.0", ""]]
    assert found == [["acme-x", "2.0", ""], ["other", "1.0", ""]]
    assert "acme-x" in _names(server, f"/{name}/simple/")


def test_a_search_goes_on_finding_what_the_layers_have(server: InProcessServer) -> None:
    """A search finds the packages of a layer, also once all lists are in memory."""
    server.publish_to("dev", NEW)
    server.publish(make_wheel("tools", "1.0"))

    pages = [server.get("/dev/?q=tools", HTML).body for _ in range(2)]

    assert [b"project/tools/" in page for page in pages] == [True, True]


def test_a_file_is_served_under_the_indexes_that_list_it(server: InProcessServer) -> None:
    """A file that is deleted in one index is served by the other that lists it, and there only."""
    server.publish_to(MAIN, OLD)
    server.publish_to("prod", OLD)
    path = f"files/demo/{OLD.sha256}/{OLD.filename}"
    server.index.lifecycle.change(
        "delete", ALICE, NormalizedName("demo"), Selection(Version("1.0")), ""
    )

    assert server.get(f"/{path}").status == 404
    assert server.get(f"/prod/{path}").body == OLD.body
    assert server.get(f"/anything/{path}").status == 404


def test_a_page_of_two_layers_is_repeated_until_the_upper_one_gets_the_name(
    server: InProcessServer,
) -> None:
    """A page of a lower layer comes from memory until an upper layer has the project."""
    server.publish_to(MAIN, OLD)
    server.publish_to("dev", make_wheel("other", "1.0"))
    path = "/dev/simple/demo/"
    server.get(path, JSON)
    server.get(path, JSON)
    repeated = server.get(path, JSON)
    server.publish_to("dev", NEW)

    assert repeated.was_quick
    assert _versions(server, path) == ["2.0"]


def test_an_index_without_packages_of_its_own_takes_no_uploads(server: InProcessServer) -> None:
    """Whoever publishes to a view is told which indexes it is made from; its pages offer none."""
    with pytest.raises(Forbidden) as refused:
        server.index.named("view").uploads.authorize(OLD.filename, ALICE)

    assert "prod and main" in refused.value.message
    assert b"uv publish" in server.get("/dev/", ("Accept", "text/html")).body
    assert b"uv publish" not in server.get("/view/", ("Accept", "text/html")).body


@pytest.mark.parametrize("name", ["dev", "as_of_2026_01_01"])
def test_no_project_gets_the_name_of_an_index(server: InProcessServer, name: str) -> None:
    """The path of an index, or of the view of a day, is never that of a project."""
    with pytest.raises(Invalid):
        server.index.uploads.authorize(f"{name}-1.0-py3-none-any.whl", ALICE)


def test_further_indexes_and_days_take_no_routes_of_their_own(
    server: InProcessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many indexes and days are asked for, a server makes its routes once."""
    server.publish_to("dev", OLD)
    today = server.index.server.runtime.now().date()
    for view in ("dev", f"as-of-{today - timedelta(days=1)}"):
        _versions(server, f"/{view}/simple/demo/")
    made = list[Route]()

    def to_starlette(route: Route) -> None:
        made.append(route)

    monkeypatch.setattr(Route, "to_starlette", to_starlette)
    paths = [f"/{view}simple/demo/" for view in ("dev/", "prod/", f"as-of-{today}/")]

    assert [_versions(server, path) for path in paths] == [["1.0"], ["1.0"], []]
    assert made == []


def test_every_first_segment_of_a_route_is_reserved(server: InProcessServer) -> None:
    """No index can have a name that is a word of the paths of the server."""
    first = {route.path.split("/")[1] for route in server.app.routes.rows if route.path}
    words = {word for word in first if word and not word.startswith("{") and word.isalnum()}

    assert words <= RESERVED_INDEX_NAMES


@pytest.mark.parametrize(
    ("index", "of_token", "reader", "everywhere", "answer"),
    [
        ("dev", "dev", "user:bo@acme.dev", False, "in other indexes: 2 that you may not read."),
        ("dev", "dev", "anonymous", False, "in other indexes: prod, 1 that you may not read."),
        ("", "main", "user:bo@acme.dev", False, "in other indexes: 2 that you may not read."),
        ("", "main", "anonymous", False, "in other indexes: prod, 1 that you may not read."),
        ("dev", "dev", "anonymous", True, "may not remove files from all indexes"),
        ("dev", "prod", "anonymous", False, "may not manage 'demo' in the index dev"),
        ("", "*", "user:bo@acme.dev", True, ""),
    ],
)
def test_bytes_are_removed_by_who_may_administer_the_indexes(
    tmp_path: Path, index: str, of_token: str, reader: str, answer: str, *, everywhere: bool
) -> None:
    """A removal is refused while another index has the bytes, which only its readers are told."""
    grants = (
        {"who": ["user:bo@acme.dev"], "projects": ["*"], "actions": ["read"], "index": "dev"},
        {"who": [reader], "projects": ["*"], "actions": ["read"], "index": "prod"},
    )
    tables = toml_of(main={**OPEN_MAIN, "read": "granted"}, index=INDEXES[:2], grant=grants)
    settings = Settings()
    with in_process(tmp_path, settings, tables=tables) as server:
        for name in (MAIN, "dev", "prod"):
            server.publish_to(name, OLD)
        actions = Action.ADMIN.with_implied
        indexes = parse_right_indexes(of_token, actions)
        wanted = TokenRequest(name="t", actions=actions, indexes=indexes)
        token = server.index.tokens.create(wanted, by="local:ana")[0].text
        headers = (("Authorization", f"Bearer {token}"), ("Content-Type", "application/json"))
        body = encode({"sha256": OLD.sha256, "everywhere": everywhere})
        path = f"/{index}/api/v1/projects/demo/delete-now".replace("//", "/")

        got = server.get(path, *headers, method="POST", body=(body,))

        files = [
            server.index.named(name).projects.get(DEMO).files for name in (MAIN, "dev", "prod")
        ]
    told = decode(got.body)
    if answer:
        assert answer in told["message"]
        assert (got.status, told["error"]) in {(409, "listed_elsewhere"), (403, "forbidden")}
        assert all(files)
    else:
        assert [file["index"] for file in told["files"]] == ["dev", MAIN, "prod"]
        assert not any(files)


def test_an_index_has_the_operations_that_are_about_it_alone(server: InProcessServer) -> None:
    """Packages, their use and the caller's rights have a path in each index, and tokens none."""
    answered = set()
    for operation in OPERATIONS:
        path = re.sub(r"\{\w+\}", "demo", operation.path)
        answer = server.get(f"/dev/api/v1/{path}", method=operation.method)
        if answer.status != 405 and b"as --server" not in answer.body:
            answered.add(f"{operation.method} {operation.path}")

    assert answered == OF_EACH_INDEX


@pytest.mark.parametrize(
    ("path", "act"),
    [
        ("names", "list the private names"),
        ("usage", "see what is stored"),
        ("access", "see or change rights"),
    ],
)
def test_what_is_for_administrators_is_refused_to_others(
    server: InProcessServer, path: str, act: str
) -> None:
    """Whoever administers no index is told what is for administrators, and gets none of it."""
    refused = server.get(f"/api/v1/{path}", server.bearer())

    assert (refused.status, refused.json()["error"]) == (403, "forbidden")
    assert f" may not {act}. It is for administrators of this index. " in refused.json()["message"]


def test_pages_of_people_are_those_of_the_whole_server(server: InProcessServer) -> None:
    """A link to the account leads from each index to the one page of the account."""
    answer = server.get("/dev/-/account/?a=b")

    assert (answer.status, answer.headers["location"]) == (302, "/-/account/?a=b&index=dev")


@pytest.mark.parametrize(
    ("query", "sent"),
    [("", "index=dev"), ("?can=upload", "can=upload&index=dev"), ("?index=prod", "index=prod")],
)
def test_the_page_of_tokens_knows_the_index(server: InProcessServer, query: str, sent: str) -> None:
    """Below an index, the page of tokens opens with that index, unless the link names another."""
    answer = server.get(f"/dev/-/account/tokens/{query}")

    assert answer.headers["location"] == f"/-/account/tokens/?{sent}"


def test_pages_say_which_index_they_are_of(server: InProcessServer) -> None:
    """The home page names all indexes, and a project of a layer says where it is from."""
    server.publish_to(MAIN, OLD)
    html = ("Accept", "text/html")

    assert b'<a href="./../prod/">prod</a>' in server.get("/dev/", html).body
    assert b'<a href="./dev/">dev</a>' in server.get("/", html).body
    page = server.get("/dev/project/demo/", html).body
    assert b'<a href="../../../project/demo/">the index main</a>' in page


def _links_to_indexes(server: InProcessServer) -> list[str]:
    page = server.get("/", ("Accept", "text/html"))
    assert page.status == 200
    links: list[str] = re.findall(r'<a href="./([a-z]+)/">\1</a>', page.body.decode())
    return links


def test_the_home_page_has_the_indexes_of_now(tmp_path: Path) -> None:
    """The home page names an index that was just made, and none that was removed, to anybody."""
    with in_process(tmp_path) as server:
        server.publish_to(MAIN, OLD)
        indexes = server.index.server.index_administration
        assert [_links_to_indexes(server) for _ in range(2)] == [[], []]
        indexes.add({"name": "dev", "read": "anyone"}, "local:test")
        assert [_links_to_indexes(server) for _ in range(2)] == [["dev"], ["dev"]]
        assert server.get("/", ("Accept", "text/html")).was_quick
        indexes.add({"name": "prod", "read": "anyone"}, "local:test")
        assert _links_to_indexes(server) == ["dev", "prod"]
        indexes.remove("dev", "local:test")
        assert _links_to_indexes(server) == ["prod"]


def test_other_servers_name_a_new_index_within_fifteen_seconds(tmp_path: Path) -> None:
    """On a bucket, the home page of another server names a new index 15 s later, and stays so."""
    store = RemoteStore()
    with (
        in_process(tmp_path, store=store, near=False) as here,
        in_process(tmp_path, store=store, near=False) as there,
    ):
        assert _links_to_indexes(there) == []
        added = {"name": "dev", "read": "anyone"}
        here.index.server.index_administration.add(added, "local:test")
        for _ in range(2):
            there.clock.advance(seconds=15)
            assert _links_to_indexes(there) == ["dev"]
        asked = store.asked("get", keys.INDEX_LIST)
        assert _links_to_indexes(there) == ["dev"]
        assert store.asked("get", keys.INDEX_LIST) == asked


def test_the_home_page_is_there_again_with_the_list_of_indexes(server: InProcessServer) -> None:
    """While the list of indexes is damaged, there is no home page, and then one with all again."""
    names, store = sorted(str(table["name"]) for table in INDEXES), server.index.stores.documents
    whole = store.get(keys.INDEX_LIST)
    assert isinstance(whole, Stored)
    assert _links_to_indexes(server) == names
    store.put(keys.INDEX_LIST, b"?", None)
    assert [server.get("/", HTML).status for _ in range(2)] == [503, 503]
    store.put(keys.INDEX_LIST, whole.body, None)
    assert _links_to_indexes(server) == names


EVERYBODY: Final = {"who": ["anonymous"], "projects": ["*"], "actions": ["read"]}
FOR_PROD: Final = GrantFields(
    who=("user:bo@acme.dev",), projects=("*",), actions=("read",), index="prod"
)
PATHS: Final = ("simple/demo/", f"files/demo/{OLD.sha256}/{OLD.filename}", "")


def _caching(server: InProcessServer, path: str, *headers: tuple[str, str]) -> tuple[int, str]:
    answer = server.get(path, *headers)
    return answer.status, answer.headers.get("cache-control", "")


def _read(server: InProcessServer, who: str) -> None:
    server.index.server.index_administration.change("prod", {"read": who}, "local:test")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("grants", [(), (EVERYBODY,)])
def test_what_a_change_of_an_index_closes_is_public_no_more(
    tmp_path: Path, grants: tuple[dict[str, Any], ...], path: str
) -> None:
    """An index that needs a right from now on is at once nothing that anybody reads or caches."""
    http = HttpSettings(public_max_age=60)
    views = ("prod", "prod/as-of-2026-01-01")
    with in_process(tmp_path, Settings(http=http), tables=toml_of(grant=grants)) as server:
        for table in OPEN[:2]:
            server.index.server.index_administration.add(table, "local:test")
        server.publish_to("prod", OLD)
        request = TokenRequest(name="ci", indexes=("prod",))
        bearer = ("Authorization", f"Bearer {server.index.tokens.create(request, 'me')[0].text}")
        for view in views:
            answers = [_caching(server, f"/{view}/{path}") for _ in range(3)]
            assert {status for status, _ in answers} == {200}
            assert all(caching.startswith("public") for _, caching in answers)
        _read(server, "granted")
        for view in views:
            assert server.get(f"/{view}/{path}").status == 401
            status, caching = _caching(server, f"/{view}/{path}", bearer)
            assert (status, caching.partition(",")[0]) == (200, "private")
        assert server.get("/simple/").status == server.get("/dev/simple/").status == 200
        _read(server, "anyone")
        assert all(server.get(f"/{view}/{path}").status == 200 for view in views)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("tables", "status"), [(OPEN, 200), (INDEXES, 401)])
def test_a_stored_grant_and_its_end_change_nothing_for_others(
    tmp_path: Path, tables: tuple[dict[str, Any], ...], status: int, path: str
) -> None:
    """The first grant of an index closes it to nobody, and the end of its last opens it to none."""
    with in_process(tmp_path, Settings(), tables=toml_of(main=OPEN_MAIN, index=tables)) as server:
        server.publish_to("prod", OLD)
        before = [_caching(server, f"/prod/{path}") for _ in range(2)]
        made = server.index.server.access.grant(FOR_PROD, "local:test")
        granted = [_caching(server, f"/prod/{path}") for _ in range(2)]
        server.index.server.access.revoke(made, "local:test")
        revoked = [_caching(server, f"/prod/{path}") for _ in range(2)]

    assert before == granted == revoked
    assert {answered for answered, _ in before} == {status}


def test_other_servers_close_an_index_within_fifteen_seconds(tmp_path: Path) -> None:
    """On a bucket, another server closes an index within 15 s of the change, and asks no more."""
    store = RemoteStore()
    with (
        in_process(tmp_path, store=store, near=False) as here,
        in_process(tmp_path, store=store, near=False) as there,
    ):
        for table in OPEN[:2]:
            here.index.server.index_administration.add(table, "local:test")
        here.publish_to("prod", OLD)
        there.clock.advance(seconds=15)
        assert there.get("/prod/simple/demo/", JSON).status == 200
        _read(here, "granted")
        there.clock.advance(seconds=15)
        assert there.get("/prod/simple/demo/", JSON).status == 401
        asked = store.asked("get", keys.INDEX_LIST)
        assert there.get("/prod/simple/demo/", JSON).status == 401
        assert store.asked("get", keys.INDEX_LIST) == asked


@pytest.mark.parametrize("damage", [b"?", None])
def test_nobody_gets_a_right_while_the_grants_are_not_known(
    tmp_path: Path, damage: bytes | None
) -> None:
    """While the grants are damaged or lost, they give nobody a right; what is open stays open."""
    tables = toml_of(main=OPEN_MAIN, index=(*INDEXES[1:2], {"name": "dev", "read": "anyone"}))
    settings = Settings(access=AccessSettings(static_token="s" * 40))
    with in_process(tmp_path, settings, tables=tables) as server:
        server.publish_to("prod", OLD)
        server.index.server.access.grant(FOR_PROD, "local:test")
        store = server.index.stores.credentials
        store.delete(keys.ACCESS) if damage is None else store.put(keys.ACCESS, damage, None)
        bearer = ("Authorization", f"Bearer {'s' * 40}")

        assert server.get("/prod/simple/demo/", JSON, bearer).status == 503
        assert server.get("/prod/simple/demo/", JSON).status == 503
        assert server.get("/simple/", JSON).status == 200
        assert server.get("/dev/simple/", JSON).status == 200
        assert server.get("/nobody/simple/", JSON).status == 404


MAIN_PATHS: Final = (
    *("/", "/-/projects/1/", "/feed.xml", "/simple/", "/simple/demo/", "/search.json", "/demo/"),
    *(f"/files/demo/{OLD.sha256}/{OLD.filename}", "/as-of-2026-01-01/simple/demo/"),
    *("/project/demo/", "/pypi/demo/json", "/api/v1/projects", "/-/account/"),
)


@pytest.mark.parametrize("damage", [b"?", None], ids=["damaged", "lost"])
def test_nothing_is_open_while_the_definitions_are_not_known(
    tmp_path: Path, damage: bytes | None
) -> None:
    """While nobody knows whether main is open, it answers 503, also what it has in memory."""
    store = MemoryStore(lambda: 0.0)
    probes = ("/health", "/ready", "/robots.txt")
    with in_process(tmp_path, store=store, tables=toml_of(main=OPEN_MAIN, index=OPEN)) as server:
        server.publish_to(MAIN, OLD)
        remembered = [server.get(path, JSON).status for _ in range(2) for path in MAIN_PATHS]
        if damage is None:
            store.delete(keys.INDEX_LIST)
        else:
            store.put(keys.INDEX_LIST, damage, None)

        closed = {server.get(path, JSON).status for path in (*MAIN_PATHS, "/dev/simple/")}

        assert remembered.count(200) > len(MAIN_PATHS)
        assert closed == {503}
        assert [server.get(path).status for path in probes] == [200, 200, 200]
    with in_process(tmp_path, store=store) as restarted:
        assert {restarted.get(path, JSON).status for path in MAIN_PATHS} == {503}
        assert restarted.get("/health").status == 200


@pytest.mark.parametrize(
    "path", ["/prod/api/v1/tokens", "/prod/prod/api/v1/projects", "/nope/api/v1/projects"]
)
def test_commands_hear_how_an_index_is_named(server: InProcessServer, path: str) -> None:
    """Who gives a command the URL of an index instead of the root hears what to write."""
    answer = server.get(path)

    assert (answer.status, b"as --server" in answer.body) == (404, True)
    assert b"as --server" not in server.get("/prod/simple/demo/1.0/").body
