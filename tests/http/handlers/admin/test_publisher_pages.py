"""The pages of trusted publishers."""

import re
from collections.abc import Iterator, Mapping

import pytest

from tests.distributions import make_wheel
from tests.fake_time import START
from tests.http.handlers.admin.administering import TABLES, Administrator, settings_in, text_of
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from tests.model.jobs import GITLAB, OIDC
from wheelyard.api.operation import decode_body
from wheelyard.api.publisher_operations import NewPublisher
from wheelyard.errors import Invalid
from wheelyard.model.stored_publishers import PublisherAdded
from wheelyard.settings.sections import PublishingSettings

PAGE = "publishers/"
WANTED: Mapping[str, str] = {
    "action": "add",
    "provider": "github",
    "id": "release-of-tools",
    "projects": "tools, tools-extras",
    "repository": "acme/tools",
    "repository_id": "7",
    "owner_id": "8",
    "workflow": "release.yml",
    "environment": "release",
    "note": "TEAM-12",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An index with a publisher, and the project `tools`."""
    folder = tmp_path_factory.mktemp("server")
    publishing = PublishingSettings(audience=("packages.acme.dev",))
    settings = settings_in(folder, trusted_publishing=publishing)
    tables = TABLES + toml_of(publisher=(GITLAB,))
    with in_process(folder, settings, tables=tables) as opened:
        opened.publish(make_wheel("tools"))
        yield opened


@pytest.fixture
def admin(server: InProcessServer) -> Iterator[Administrator]:
    """The administrator, and no other publisher before and after."""
    yield Administrator.of(server)
    for row in server.index.server.publishers.show():
        if row.name != GITLAB["id"]:
            server.index.server.publishers.remove(row.name, "local:bo")


def stored(admin: Administrator) -> dict[str, dict[str, object]]:
    """Return the other publishers by id."""
    rows = admin.server.index.server.publishers.show()
    return {row.name: row.keys for row in rows if row.name != GITLAB["id"]}


def as_of(form: str) -> str:
    """Return when the publisher that a form changes had been changed last."""
    match = re.search('name="as_of" value="([^"]+)"', form)
    assert match is not None
    return match[1]


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}?add=github", f"{PAGE}history/"])
@pytest.mark.parametrize("name", ["reader", "stranger"])
def test_publishers_are_for_administrators(server: InProcessServer, path: str, name: str) -> None:
    """Who is no administrator sees no publishers, and adds none."""
    person = Administrator.of(server, name)

    answers = [person.open(path), person.send(PAGE, **WANTED)]

    assert [answer.status for answer in answers] == [403, 403]
    assert len(server.index.server.publishers.show()) == 1


def test_publisher_is_added_changed_and_removed(admin: Administrator) -> None:
    """A publisher is added by the form of its provider, changed, removed, and in the history."""
    page = admin.done(PAGE, **WANTED)
    assert "The publisher is added: release-of-tools" in page
    assert "GitHub Actions: acme/tools, release.yml, release" in page
    assert "tools , tools-extras no project yet" in page
    assert "gl-tools GitLab CI: group/tools" in page
    form = admin.open(f"{PAGE}?change=release-of-tools").body.decode()
    assert 'value="tools, tools-extras"' in form
    changed = {**WANTED, "action": "change", "environment": "", "ref": "refs/tags/v*"}
    changed["as_of"] = as_of(form)

    page = admin.done(PAGE, **changed)

    assert "The publisher is changed" in page
    keys = stored(admin)["release-of-tools"]
    assert ("environment" in keys, keys["ref"], keys["repository_id"]) == (False, "refs/tags/v*", 7)
    assert "Its jobs get no token any more" in admin.read(f"{PAGE}?remove=release-of-tools")
    page = admin.done(PAGE, action="remove", id="release-of-tools", note="moved")
    assert "Tokens that its jobs have got open nothing then" in page
    assert stored(admin) == {}
    history = admin.read(f"{PAGE}history/")
    assert history.index("removed (moved)") < history.index("changed, ") < history.index("added, ")
    assert "publisher release-of-tools: removed" in admin.read("journal/?what=publisher-removed")


def test_form_that_is_too_old_changes_nothing(admin: Administrator) -> None:
    """Of two administrators with the same form, the second one does not undo the first."""
    admin.done(PAGE, **WANTED)
    form = admin.open(f"{PAGE}?change=release-of-tools").body.decode()
    changes = {"action": "change", "as_of": as_of(form)}
    admin.server.clock.advance(minutes=1)
    admin.done(PAGE, **{**WANTED, **changes, "projects": "tools"})
    before = stored(admin)

    answer = admin.send(PAGE, **{**WANTED, **changes, "ref": "refs/heads/main"})

    assert (answer.status, "was changed meanwhile" in text_of(answer)) == (409, True)
    assert stored(admin) == before
    assert admin.send(PAGE, **{**WANTED, "action": "change"}).status == 400


@pytest.mark.parametrize(
    ("provider", "more"),
    [
        ("gitlab", {"project_path": "g/p", "project_id": "1", "namespace_id": "2"}),
        ("google", {"email": "a@p.iam.gserviceaccount.com", "sub": "1" * 21}),
        ("buildkite", {"organization": "acme", "pipeline": "x", "build_branch": "main"}),
        ("oidc", {"issuer": "https://i.example", "match": "sub = x\r\nb = true"}),
    ],
)
def test_each_provider_has_its_form(
    admin: Administrator, provider: str, more: dict[str, str]
) -> None:
    """A publisher of each provider is added by a form with only the fields of that provider."""
    refused = admin.send(PAGE, action="add", provider=provider, id="No", projects="demo", **more)
    assert refused.status == 400
    for answer in (admin.open(f"{PAGE}?add={provider}"), refused):
        form = answer.body.decode()
        assert all(f'name="{field}"' in form for field in more)
        assert 'name="repository"' not in form

    admin.done(PAGE, action="add", provider=provider, id="one", projects="demo", **more)

    assert stored(admin)["one"]["provider"] == provider
    assert provider == "oidc" or "match" not in stored(admin)["one"]


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"id": "No"}, 400, "id"),
        ({"id": "gl-tools"}, 409, "id"),
        ({"projects": ""}, 400, "projects"),
        ({"projects": "tools*"}, 400, "projects"),
        ({"repository": "acme"}, 400, "repository"),
        ({"repository_id": "x"}, 400, "repository_id"),
        ({"workflow": ""}, 400, "workflow"),
        ({"events": "pull_request"}, 400, "events"),
        ({"index": "nowhere"}, 409, "index"),
        ({"issuer": "https://10.0.0.7"}, 400, "issuer"),
        ({"provider": ""}, 400, ""),
        ({"provider": "travis"}, 400, ""),
        ({"csrf_token": ""}, 403, ""),
    ],
)
def test_what_was_typed_is_kept(
    admin: Administrator, changes: dict[str, str], status: int, field: str
) -> None:
    """A form that is refused comes again with the reason beside its field, and adds nothing."""
    answer = admin.send(PAGE, **{**WANTED, "owner_id": "4711", **changes})

    page = answer.body.decode()
    assert answer.status == status
    assert (f'id="{field}-error"' in page) == bool(field)
    assert 'value="4711"' in page
    assert stored(admin) == {}


def test_what_is_not_in_the_store(admin: Administrator) -> None:
    """An unknown publisher is not found."""
    for action in ("change", "remove"):
        assert admin.open(f"{PAGE}?{action}=nobody").status == 404
    assert admin.send(PAGE, action="remove", id="nobody").status == 404
    assert "No publisher fits" in admin.read(f"{PAGE}?search=nothing-like-it")


def test_the_indexes_of_a_publisher_are_named(admin: Administrator) -> None:
    """The list says in which indexes a publisher counts, as it says of other rights."""
    events = tuple(
        PublisherAdded(at=START, by="local:bo", keys={**GITLAB, "id": name, "index": index})
        for name, index in (("one", "dev"), ("two", "dev,prod"), ("all", "*"))
    )
    admin.server.index.server.publishers.records.change(lambda _: events)

    page = admin.read(PAGE)

    for words in ("in the index dev ", "in the indexes dev and prod ", "in all indexes "):
        assert words in page


def test_a_publisher_that_is_not_in_force_is_marked(
    admin: Administrator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The list says of a publisher that an earlier version has made why it gives no token."""
    keys = {**OIDC, "issuer": "https://ci.acme.dev", "allow_private_issuer": True}
    keys |= {"index": "No Name"}
    added = PublisherAdded(at=START, by="local:bo", keys=keys)
    admin.server.index.server.publishers.records.change(lambda _: (added,))
    folder = tmp_path_factory.mktemp("other")
    store = admin.server.index.stores.documents
    with in_process(folder, settings_in(folder), store=store) as other:
        page = Administrator.of(other).read(PAGE)

    assert f"{OIDC['id']} not in force" in page
    assert "in No Name " in page
    assert "private_issuers of [trusted_publishing]" in page
    assert "trusted_publishing.audience" in page
    assert "trusted_publishing.audience" not in admin.read(PAGE)


def test_history_of_a_project_has_its_publishers(admin: Administrator) -> None:
    """Who manages a project sees who has let jobs publish to it."""
    admin.done(PAGE, **WANTED)

    page = text_of(admin.browser.open("/project/tools/history/"))

    assert "publisher release-of-tools: added" in page
    admin.server.index.server.publishers.remove("release-of-tools", "local:eve")
    admin.server.clock.advance(seconds=2)
    assert "release-of-tools: removed" in text_of(admin.browser.open("/project/tools/history/"))


def test_publisher_of_the_api_is_an_object() -> None:
    """Who sends a text to the API in place of the keys of a publisher reads what it wants."""
    with pytest.raises(Invalid, match="publisher must be an object"):
        decode_body(b'{"publisher": "x"}', NewPublisher)


def test_a_form_without_its_time_says_so(admin: Administrator) -> None:
    """A form whose hidden time is missing or wrong is shown again with the reason."""
    admin.done(PAGE, **WANTED)
    for as_of in ({}, {"as_of": "zz"}):
        again = admin.send(PAGE, **{**WANTED, "action": "change", **as_of})

        assert again.status == 400
        assert "The form does not say when it was shown. Load it again." in text_of(again)


def test_a_history_without_changes_says_so(admin: Administrator) -> None:
    """The history of what nobody has changed yet is a page that says so."""
    assert "Nothing has been changed." in admin.read("webhooks/history/")


def test_a_link_does_not_make_the_page_say_what_it_likes(admin: Administrator) -> None:
    """A page tells of a change only if the list shows that it was made."""
    admin.done(PAGE, **WANTED)
    name = WANTED["id"]
    for query in (f"done=remove&id={name}", "done=add&id=sign+in+elsewhere", "done=zz&id=x"):
        assert 'role="status"' not in admin.open(f"{PAGE}?{query}").body.decode()
    assert admin.open(f"{PAGE}?search=%00a").status == 400
