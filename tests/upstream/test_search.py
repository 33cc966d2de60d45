"""Public packages in searches and lists: which ones, who sees them, and what that costs."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from packaging.version import Version
from prometheus_client import generate_latest

from tests.distributions import make_wheel
from tests.fake_store import FakeStore
from tests.fake_time import Clock, fake_runtime
from tests.http.in_process import InProcessServer, in_process
from tests.http.servers import token_of
from tests.index_tables import toml_of
from tests.upstream.fake_pages import FakeFile
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import file_of, page_of
from tests.upstream.settings import close, front, upstream_section
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.http import upstream_reader
from wheelyard.http.handlers import home as home_handler
from wheelyard.http.responses import visibility_key
from wheelyard.model.access import ANONYMOUS, Action, Caller, Pattern, Scope
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.index_name import MAIN
from wheelyard.operations.search.search_index import REMOTE_SECONDS, SearchIndex
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.storage.base import Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.upstream.decisions import Deciding
from wheelyard.upstream.indexes import UpstreamIndex
from wheelyard.upstream.search_facts import DAY_SECONDS, LATELY
from wheelyard.upstream.sidecars import core_metadata_of
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

HTML = ("accept", "text/html")
LINE = re.compile(r'<li><p><a href="[./]*project/([a-z0-9-]+)/">(.*?)</li>', re.DOTALL)
IDNA = "idna-3.10-py3-none-any.whl"
SUMMARY = "Internationalised names"


@pytest.fixture
def public(upstream: FakeUpstream) -> FakeUpstream:
    """An upstream with some packages."""
    upstream.publish(
        public_wheel("idna", "3.10", f"Summary: {SUMMARY}", "Requires-Dist: acme-core")
    )
    upstream.publish(public_wheel("rich", "14.0", "Summary: Rich"), public_wheel("rich", "13.0"))
    upstream.publish(public_wheel("requests", "2.32.5"), public_wheel("team-kit", "9.0"))
    return upstream


@pytest.fixture
def app(tmp_path: Path, public: FakeUpstream) -> Iterator[InProcessServer]:
    """An open index with a private project before that upstream."""
    with front(tmp_path, public) as app:
        app.publish(make_wheel("acme-core", "1.0", "Requires-Dist: requests"))
        yield app


def page_body(app: InProcessServer, target: str, token: str = "") -> str:
    """Return the body of a page for people, or of JSON."""
    login = [("authorization", f"Bearer {token}")] if token else []
    answer = app.get(target, HTML, *login)
    assert answer.status == 200
    return answer.body.decode()


def listed(app: InProcessServer, token: str = "", seconds: float = 60) -> dict[str, list[str]]:
    """Return the rest of each entry of `/search.json` by name, after the next refresh."""
    app.clock.advance(seconds=seconds)
    app.index.search.start = lambda work: work()
    upstream_of(app).pages.flush()
    return {name: rest for name, *rest in json.loads(page_body(app, "/search.json", token))}


def shown(app: InProcessServer, target: str, token: str = "") -> dict[str, bool]:
    """Return the projects that a page lists, and whether each is marked as public."""
    lines = LINE.findall(page_body(app, target, token))
    return {name: '<span class="mark">public</span>' in rest for name, rest in lines}


def decide(app: InProcessServer) -> Deciding:
    """Return what makes decisions in the name of Ana."""
    return Deciding(app.index.server.decisions, "local:ana", None, app.index.upstream)


def counted(app: InProcessServer) -> bytes:
    """Return all that is counted of upstream indexes."""
    return generate_latest(upstream_of(app).observation.registry)


def upstream_of(app: InProcessServer) -> UpstreamIndex:
    """Return the upstream indexes of an application."""
    assert app.index.upstream is not None
    return app.index.upstream


def test_what_was_asked_for_is_found(app: InProcessServer, public: FakeUpstream) -> None:
    """A public project that a client has asked for is listed, with what its core metadata say."""
    assert listed(app) == {"acme-core": ["1.0", ""]}
    page_of(app, "idna")
    before, requests = counted(app), len(public.requests)
    assert listed(app)["idna"] == ["3.10", "", "", "", "public"]
    assert (counted(app), len(public.requests)) == (before, requests)

    file_of(app, "idna", IDNA, ".metadata")
    assert listed(app)["idna"] == ["3.10", SUMMARY, "", "", "public"]
    results = json.loads(page_body(app, "/search.json?q=internationalised"))
    assert results["projects"] == [["idna", "3.10", SUMMARY, "", "", "public"]]
    assert shown(app, "/?q=internationalised") == {"idna": True}


def test_lists_for_people(app: InProcessServer) -> None:
    """The list of all projects marks public packages, and each page counts them apart."""
    page_of(app, "idna")
    listed(app)

    assert "1 project and 1 public package<" in page_body(app, "/")
    assert shown(app, "/-/projects/1/") == {"acme-core": False, "idna": True}
    assert "1 project and 1 public package<" in page_body(app, "/-/projects/1/")
    assert shown(app, "/-/projects/1/?show=public") == {"idna": True}
    assert shown(app, "/-/projects/1/?show=private") == {"acme-core": False}
    assert shown(app, "/") == {"acme-core": False}
    assert "All 1 project and 1 public package" in page_body(app, "/")
    assert "idna" not in page_body(app, "/feed.xml")


def test_only_public_packages(tmp_path: Path, public: FakeUpstream) -> None:
    """An index into which nobody has published says how, and lists its public packages."""
    with front(tmp_path, public) as app:
        page_of(app, "idna")
        listed(app)
        home = page_body(app, "/")
    assert "1 public package<" in home
    assert "Publish the first package" in home


def test_the_api_marks_them(app: InProcessServer) -> None:
    """Programs get public packages in a list of their own, each with its upstream index."""
    page_of(app, "idna")
    listed(app)

    found = json.loads(page_body(app, "/api/v1/projects"))
    assert found["projects"] == [{"name": "acme-core"}]
    assert found["public"] == [{"name": "idna", "origin": "public"}]
    since = json.loads(page_body(app, "/api/v1/projects?changed-since=2020-01-01T00:00:00Z"))
    assert since == {"projects": [{"name": "acme-core"}]}


def test_links_between_private_and_public(app: InProcessServer) -> None:
    """The page of a private project links to a public one that it needs, and to its users."""
    page_of(app, "requests")
    file_of(app, "idna", IDNA, ".metadata")
    listed(app)

    page = page_body(app, "/project/acme-core/")
    assert '<a href="../../project/requests/">requests</a>' in page
    users = page.partition('<h2 id="used-by">Used by</h2>')[2].partition("</section>")[0]
    assert '<a href="../idna/">idna</a> <span class="mark">public</span>' in users


def test_public_packages_are_filtered_as_private_ones(app: InProcessServer) -> None:
    """Results with public packages are filtered, also what was just looked up, and sorted."""
    assert shown(app, "/?q=Rich&show=private") == {}
    assert shown(app, "/?q=Rich&show=public&sort=downloads") == {"rich": True}
    assert "0 downloads" not in page_body(app, "/?q=Rich&sort=downloads")
    assert shown(app, "/?q=requests&classifier=Nothing") == {}


def test_what_nobody_uses_goes(app: InProcessServer) -> None:
    """A project that nobody asks for within a month is left out, unless it is kept or approved."""
    for name in ("idna", "rich", "requests"):
        page_of(app, name)
    upstream_of(app).pages.flush()
    upstream, idna = upstream_of(app), parse_name("idna")
    found = upstream.pages.read_any_age(idna)
    assert found is not None
    upstream.files.bring(found.page, found.page.by_filename[IDNA])
    decide(app).approve(parse_name("rich"), None, "")
    unasked = Deciding(app.index.server.decisions, "local:ana")
    unasked.approve(parse_name("never-asked"), Version("1.0"), "", sha256=["0" * 64])
    assert listed(app).keys() == {"acme-core", "idna", "rich", "requests"}

    later = listed(app, seconds=LATELY.total_seconds() + DAY_SECONDS)
    assert later.keys() == {"acme-core", "idna", "rich"}
    page_of(app, "requests")
    assert "requests" in listed(app)


def test_what_is_blocked_is_not_listed(app: InProcessServer) -> None:
    """What is blocked is left out, here at once, and the version shown is one for clients."""
    for version in ("14.0", "13.0"):
        file_of(app, "rich", f"rich-{version}-py3-none-any.whl", ".metadata")
    assert listed(app)["rich"][0] == "14.0"

    decide(app).block(parse_name("rich"), Version("14.0"), "broken")
    assert listed(app)["rich"][0] == "13.0"
    decide(app).block(parse_name("rich"), None, "taken over")
    assert "rich" not in listed(app)
    decide(app).approve(parse_name("rich"), None, "it was not")
    assert listed(app)["rich"][0] == "13.0"

    request = TokenRequest(name="admin", actions=Action.ADMIN, lifetime=timedelta(days=1))
    token = app.index.tokens.create(request, "local:ana")[0].text
    login = ("authorization", f"Bearer {token}")
    sent = b'{"project": "rich", "version": ""}'
    kind = ("content-type", "application/json")
    decided = app.get("/api/v1/upstream/block", login, kind, method="POST", body=[sent])
    assert decided.status == 200
    assert "rich" not in listed(app, seconds=0), "found until the next refresh"


def test_core_metadata_of_another_project(app: InProcessServer, public: FakeUpstream) -> None:
    """What a wheel says of another project is not found under this name."""
    made = FakeFile.of(public_wheel("rich", "15.0"))
    stolen = public_wheel("acme-core", "15.0", "Summary: STOLEN", "Requires-Dist: idna")
    public.publish(replace(made, metadata=stolen.metadata))

    file_of(app, "rich", made.filename, ".metadata")

    assert listed(app)["rich"] == ["15.0", "", "", "", "public"]


def test_what_is_gone(app: InProcessServer, public: FakeUpstream) -> None:
    """A project that its upstream index has no more is left out."""
    page_of(app, "rich")
    assert "rich" in listed(app)
    public.drop("rich")
    app.clock.advance(seconds=3600)
    assert app.get("/simple/rich/").status == 404

    assert "rich" not in listed(app)


def test_names_that_the_settings_exclude(tmp_path: Path, public: FakeUpstream) -> None:
    """A name that is denied or private by the settings is not listed, whatever is stored."""
    store = MemoryStore(Clock().seconds)
    with front(tmp_path, public, store=store, private=("other-*",)) as app:
        for name in ("idna", "rich", "team-kit"):
            page_of(app, name)
        assert {"idna", "rich", "team-kit"} <= listed(app).keys()
    with front(tmp_path, public, store=store, deny=("rich",)) as app:
        assert "team-kit" not in listed(app, seconds=0)
        assert listed(app).keys() == {"idna"}
        assert shown(app, "/?q=team-kit") == {}


def test_only_what_is_approved(tmp_path: Path, public: FakeUpstream) -> None:
    """Where everything has to be approved, nothing else is found, also not by its name."""
    with front(tmp_path, public, approval=True) as app:
        decide(app).approve(parse_name("idna"), None, "")
        page_of(app, "idna")
        assert listed(app).keys() == {"idna"}
        assert shown(app, "/?q=rich") == {}


def test_a_private_name_wins(tmp_path: Path, public: FakeUpstream) -> None:
    """A name that is published here is a private project at once, in all lists."""
    with front(tmp_path, public, shadow=("idna",)) as app:
        page_of(app, "idna")
        assert listed(app)["idna"][-1] == "public"
        app.publish(make_wheel("idna", "0.1"))

        assert listed(app, seconds=0) == {"idna": ["0.1", ""]}
        assert shown(app, "/-/projects/1/") == shown(app, "/?q=idna") == {"idna": False}
        assert json.loads(page_body(app, "/api/v1/projects"))["public"] == []


def test_a_name_that_became_private_a_moment_ago(
    tmp_path: Path, public: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API calls a name private once it is published, also while the search calls it public."""
    with front(tmp_path, public, shadow=("idna",)) as app:
        page_of(app, "idna")
        assert "idna" in listed(app)
        table = app.index.search.table()
        app.publish(make_wheel("idna", "0.1"))
        monkeypatch.setattr(SearchIndex, "peek", lambda _: table)

        expected = {"projects": [{"name": "idna"}], "public": []}
        assert json.loads(page_body(app, "/api/v1/projects")) == expected


def test_who_sees_them(tmp_path: Path, public: FakeUpstream) -> None:
    """Whoever may read anything sees public packages; nobody is told of others' private ones."""
    access = AccessSettings(private=True)
    with front(tmp_path, public, access=access) as app:
        app.publish(make_wheel("acme-core"), make_wheel("secret-plan"))
        every = token_of(app.index, can="read")
        acme = token_of(app.index, "acme-*", can="read")
        app.get("/simple/idna/", ("authorization", f"Bearer {every}"))
        listed(app, every)
        for _ in range(2):
            assert listed(app, every).keys() == {"acme-core", "idna", "secret-plan"}
            assert listed(app, acme).keys() == {"acme-core", "idna"}
            assert shown(app, "/-/projects/1/", acme) == {"acme-core": False, "idna": True}
        assert app.get("/search.json").status == 401
        assert shown(app, "/?q=secret-plan", acme) == {}
        assert "1 project and 1 public package<" in page_body(app, "/", acme)


def test_who_sends_no_credential(tmp_path: Path, public: FakeUpstream) -> None:
    """Without a credential, only public packages that a grant covers are seen, from any cache."""
    grants = ({"who": ["anonymous"], "projects": ["acme-*"], "actions": ["read"]},)
    section = upstream_section(public)
    tables = toml_of(main={"read": "granted"}, grant=grants)
    with in_process(tmp_path, Settings(upstream=section), tables=tables) as app:
        app.publish(make_wheel("acme-core"))
        token = token_of(app.index, "acme-*", can="read")
        app.get("/simple/idna/", ("authorization", f"Bearer {token}"))
        assert listed(app, token).keys() == {"acme-core", "idna"}
        assert listed(app).keys() == {"acme-core"}
        assert listed(app, token).keys() == {"acme-core", "idna"}
        assert shown(app, "/?q=rich") == {}
        assert shown(app, "/?q=rich", token) == {"rich": True}
        close(app.index)


def test_cached_lists_are_for_equal_callers() -> None:
    """Lists are cached apart for anonymous callers and signed-in ones with the same rights."""
    scopes = (Scope(Action.READ, (Pattern("acme-*"),), (MAIN,)),)
    ana, anonymous = Caller("user:ana@acme.dev", scopes), Caller(ANONYMOUS, scopes)
    assert visibility_key(ana) != visibility_key(anonymous)
    assert visibility_key(ana) == visibility_key(Caller("user:bob@acme.dev", scopes))


def test_any_name_is_found_by_itself(app: InProcessServer, public: FakeUpstream) -> None:
    """A page of results has the public package of exactly that name, also if nobody has used it."""
    assert shown(app, "/?q=Rich") == {"rich": True}
    assert "1 project found" in page_body(app, "/?q=Rich")
    assert shown(app, "/?q=no-such-name") == {}
    assert "could not be found out" not in page_body(app, "/?q=no-such-name")
    asked = len(public.requests)
    for quiet in ("rich+text", "acme-core", "team-kit", "%2F", "team-kit&page=1"):
        assert not any(shown(app, f"/?q={quiet}").values())
    assert json.loads(page_body(app, "/search.json?q=requests"))["total"] == 0
    assert len(public.requests) == asked


def test_an_upstream_that_does_not_answer(
    app: InProcessServer, public: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the upstream index fails or is slow, a page of results comes all the same, and says so."""
    sentence = "could not be found out now, as no upstream index has answered"
    public.behave("rich", 500)
    assert sentence in page_body(app, "/?q=rich")
    assert shown(app, "/?q=core") == {"acme-core": False}

    gate = public.hold("requests")
    monkeypatch.setattr(home_handler, "LOOKUP_SECONDS", 0.0)
    assert sentence in page_body(app, "/?q=requests")
    gate.set()


def hint(app: InProcessServer, words: str, token: str = "") -> list[str]:
    """Return the upstream indexes of which the search box says that Enter asks them."""
    answer = json.loads(page_body(app, f"/search.json?q={words}", token))
    return list(answer.get("upstream", []))


def test_the_search_box_says_what_is_looked_up(app: InProcessServer, public: FakeUpstream) -> None:
    """What a page of results would look up is said before, and nothing is looked up for that."""
    page_of(app, "idna")
    listed(app)
    asked = len(public.requests)
    for name in ("rich", "Rich", "+no-such.name+", "acme"):
        assert hint(app, name) == ["public"]
    for quiet in ("idna", "Idna", "acme-core", "rich+text", "team-kit", "%2F", "import+rich", ""):
        assert hint(app, quiet) == [], quiet
    assert len(public.requests) == asked


def test_the_hint_tells_nobody_of_private_names(tmp_path: Path, public: FakeUpstream) -> None:
    """Of a private project that they may not read, people get what they get of any other name."""
    with front(tmp_path, public, access=AccessSettings(private=True)) as app:
        app.publish(make_wheel("acme-core"), make_wheel("secret-plan"))
        every = token_of(app.index, can="read")
        acme = token_of(app.index, "acme-*", can="read")
        assert hint(app, "secret-plan", every) == []
        answers = [
            page_body(app, f"/search.json?q={name}", acme) for name in ("secret-plan", "no-name")
        ]
        assert answers[0] == answers[1]
        assert hint(app, "secret-plan", acme) == ["public"]
    with front(tmp_path / "offline", public, offline=True) as app:
        assert hint(app, "rich") == []


@pytest.mark.slow
def test_guessed_names_are_limited(app: InProcessServer, public: FakeUpstream) -> None:
    """A client that searches for many names which nobody has is not looked up any more."""
    limit = upstream_reader.UNKNOWN_NAMES_PER_MINUTE
    for number in range(limit + 5):
        page_body(app, f"/?q=guessed-{number}")
    assert len([each for each in public.requests if "guessed" in each.path]) == limit


@dataclass
class Bucket:
    """A process with public packages in a bucket, which notes each call."""

    index: Index
    store: FakeStore
    clock: Clock

    @property
    def upstream(self) -> UpstreamIndex:
        """The upstream indexes."""
        assert self.index.upstream is not None
        return self.index.upstream

    @property
    def pages(self) -> str:
        """Where their pages are in the bucket."""
        return f"upstream/{self.upstream.config.servers[0].id}/pages/"

    def ask_for(self, name: str, *, is_described: bool = True) -> None:
        """Ask for a page, and if it `is_described`, for the core metadata of its files."""
        found = self.upstream.pages.ask_if_due(parse_name(name))
        assert found is not None
        for file in found.page.files if is_described else ():
            self.upstream.files.bring_sidecar(core_metadata_of(found.page, file))
        self.upstream.pages.flush()

    def refresh(self, seconds: float = REMOTE_SECONDS) -> list[tuple[str, str]]:
        """Return the calls about public packages for an answer after so long."""
        self.clock.advance(seconds=seconds)
        self.store.calls.clear()
        self.index.search.table()
        return [(verb, key) for verb, key in self.store.calls if "upstream/" in key]


@pytest.fixture
def bucket(tmp_path: Path, public: FakeUpstream) -> Iterator[Bucket]:
    """A process over an empty bucket, which refreshes its search index at once."""
    clock = Clock()
    store = FakeStore(MemoryStore(clock.seconds))
    runtime, traits = fake_runtime(clock, 1), StoreTraits(is_local=False)
    settings = Settings(upstream=upstream_section(public))
    index = build_index(Stores.of(store), Spool(tmp_path), settings, runtime, traits)
    index.search.start = lambda work: work()
    yield Bucket(index, store, clock)
    close(index)


def test_what_it_costs_on_a_bucket(bucket: Bucket, public: FakeUpstream) -> None:
    """A bucket is asked for one listing a minute, and for what has changed; memory has the rest."""
    public.publish(public_wheel("taken-down", "1.0"))
    bucket.ask_for("taken-down")
    public.drop("taken-down")
    bucket.upstream.pages.ask_now(parse_name("taken-down"))
    bucket.ask_for("idna")
    bucket.ask_for("rich")

    first = bucket.refresh()
    assert first.count(("list", bucket.pages)) == 1
    assert len([key for verb, key in first if verb == "get" and key.startswith(bucket.pages)]) == 3
    assert not any(verb == "list" and "/files/" in key for verb, key in first)
    assert bucket.refresh() == bucket.refresh() == [("list", bucket.pages)]
    bucket.refresh(REMOTE_SECONDS / 2)
    assert bucket.store.calls == []
    assert bucket.index.search.public is not None
    assert len(bucket.index.search.public.versions()) == 2
    assert bucket.store.count("list") == 0


def test_core_metadata_that_come_later(bucket: Bucket) -> None:
    """A page without kept core metadata is looked at again in 1, 2, 4 ... minutes."""
    bucket.ask_for("rich", is_described=False)
    bucket.refresh()

    page = ("get", f"{bucket.pages}rich.json.gz")
    again = [page in bucket.refresh() for _ in range(8)]
    assert again == [True, True, False, True, False, False, False, True]


def test_a_package_without_a_release_is_not_looked_at_again(bucket: Bucket) -> None:
    """A page of which no release is shown is read once, as no core metadata will describe it."""
    deciding = Deciding(bucket.index.server.decisions, "local:ana", None, bucket.upstream)
    deciding.block(parse_name("idna"), Version("3.10"), "")
    bucket.ask_for("idna", is_described=False)

    page = ("get", f"{bucket.pages}idna.json.gz")
    assert [page in bucket.refresh() for _ in range(5)] == [True, *[False] * 4]


def test_core_metadata_that_a_person_brings(bucket: Bucket) -> None:
    """Once the page of a public package was shown here, the next lists have its summary."""
    bucket.ask_for("rich", is_described=False)
    assert bucket.refresh()
    bucket.clock.advance(seconds=3 * REMOTE_SECONDS)
    bucket.refresh()
    rich = bucket.index.search.table().find(parse_name("rich"))
    assert rich is not None
    assert not rich.summary

    bucket.ask_for("rich")
    page = ("get", f"{bucket.pages}rich.json.gz")
    assert [page in bucket.refresh() for _ in range(6)] == [True, True, *[False] * 4]
    rich = bucket.index.search.table().find(parse_name("rich"))
    assert rich is not None
    assert rich.summary == "Rich"
