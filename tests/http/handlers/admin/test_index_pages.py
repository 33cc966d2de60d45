"""The pages of indexes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.distributions import make_wheel
from tests.http.handlers.admin.administering import TABLES, Administrator, settings_in, text_of
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import OPEN_MAIN
from wheelyard.http.handlers.admin import table_pages
from wheelyard.model.grants import GrantFields
from wheelyard.model.index_texts import INDEX_KEYS
from wheelyard.model.stored_indexes import IndexMade

PAGE = "indexes/"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """A server with the index `prod`, and the project `tools`."""
    folder = tmp_path_factory.mktemp("server")
    settings, tables = settings_in(folder), toml_of(main=OPEN_MAIN, index=({"name": "prod"},))
    with in_process(folder, settings, tables=tables + TABLES) as opened:
        opened.publish(make_wheel("tools"))
        yield opened


@pytest.fixture
def admin(server: InProcessServer) -> Iterator[Administrator]:
    """The administrator, and no other index before and after."""
    yield Administrator.of(server)
    administration = server.index.server.index_administration
    for row in administration.show():
        if row.name not in {"main", "prod"}:
            administration.remove(row.name, "local:bo")


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}?make=index", f"{PAGE}history/"])
@pytest.mark.parametrize("name", ["reader", "stranger"])
def test_indexes_are_for_administrators(server: InProcessServer, path: str, name: str) -> None:
    """Who is no administrator sees no page of indexes, and makes no index."""
    person = Administrator.of(server, name)

    answers = [person.open(path), person.send(PAGE, action="make", name="dev")]

    assert [answer.status for answer in answers] == [403, 403]
    assert len(server.index.server.index_administration.show()) == 2


def test_index_is_made_changed_and_removed(admin: Administrator) -> None:
    """An index is made by its form, changed, removed, and is in the history."""
    layers = 'dev, prod, ""'
    page = admin.done(PAGE, action="make", name="dev", layers=layers, merge="acme-*", note="T-1")
    assert "The index is made: dev" in page
    assert "layers dev prod main, merge acme-*" in page
    form = admin.open(f"{PAGE}?change=dev").body.decode()
    assert 'value="dev, prod, main"' in form
    (as_of,) = re.findall('name="as_of" value="([^"]+)"', form)

    page = admin.done(PAGE, action="change", name="dev", as_of=as_of, layers="dev", index_size="5")

    assert "The index is changed" in page
    assert admin.server.index.server.index_administration.show()[2].keys == {
        "name": "dev",
        "layers": ["dev"],
        "index_size": 5,
    }
    assert "Its URLs answer nothing any more" in admin.read(f"{PAGE}?remove=dev")
    assert "The index is removed" in admin.done(PAGE, action="remove", name="dev", note="moved")
    history = admin.read(f"{PAGE}history/")
    assert history.index("removed (moved)") < history.index("changed, ") < history.index("made, ")
    assert "index dev: removed" in admin.read("journal/?what=index-removed")


def test_the_form_has_each_key_once(admin: Administrator) -> None:
    """The form of a new index has a field for each key that an index can have, and none twice."""
    form = admin.open(f"{PAGE}?make=index").body.decode()
    labels = re.findall('<label for="([^"]+)"', form)

    assert set(re.findall(' name="([^"]+)"', form)) >= INDEX_KEYS.keys()
    assert sorted(set(labels)) == sorted(labels)


def test_ways_of_promotion_are_drawn(tmp_path: Path) -> None:
    """The page shows from which index to which releases go, and where that is the only way."""
    tables = (
        {"name": "dev"},
        {"name": "prod", "promote_from": ["dev"], "promote_only": True},
        {"name": "test", "promote_only": False},
        {"name": "view", "layers": ["prod"]},
    )
    put = toml_of(main=OPEN_MAIN, index=tables) + TABLES
    with in_process(tmp_path, settings_in(tmp_path), tables=put) as server:
        server.publish(make_wheel("tools"))
        ways = Administrator.of(server).read(PAGE).partition("Ways of promotion")[2]

    assert ways.startswith(" dev → the only way , to prod All indexes")


def test_what_an_index_opens_is_confirmed(tmp_path: Path) -> None:
    """An index that opens another one's packages is made once that is confirmed, and is marked."""
    settings = settings_in(tmp_path)
    settings = replace(settings, access=replace(settings.access, private=False))
    leak = {"action": "make", "name": "leak", "layers": "prod", "read": "anyone"}
    opens = "Anybody may read the index leak, which would show the packages of the index prod"
    tables = toml_of(index=({"name": "prod"},)) + TABLES
    with in_process(tmp_path, settings, tables=tables) as server:
        admin = Administrator.of(server)

        refused = admin.send(PAGE, **leak)

        assert (refused.status, opens in text_of(refused)) == (409, True)
        names = [row.name for row in server.index.server.index_administration.show()]
        assert names == ["main", "prod"]
        page = admin.done(PAGE, **leak, even_if_open="yes")
        warning = "Anybody may read the index leak, which shows packages of the index prod"
        assert warning in page
        (as_of,) = re.findall(
            'name="as_of" value="([^"]+)"', admin.open(f"{PAGE}?change=leak").body.decode()
        )
        closed = {**leak, "action": "change", "as_of": as_of, "read": "granted"}
        assert warning not in admin.done(PAGE, **closed)


def test_rights_of_an_earlier_index_are_told(admin: Administrator) -> None:
    """Who makes an index under the name of an earlier one reads which rights hold in it."""
    grant = GrantFields(who=("htpasswd:reader",), projects=("*",), actions=("read",), index="dev")
    admin.done(PAGE, action="make", name="dev")
    granted = admin.server.index.server.add_grant(grant, "local:bo")
    admin.done(PAGE, action="remove", name="dev")

    made = admin.send(PAGE, action="make", name="dev")

    admin.server.index.server.access.revoke(granted.id, "local:bo", "", frozenset())
    assert made.status == 201
    assert "these named the index dev before it was made, and hold in it now: 1 grant" in text_of(
        made
    )


def test_a_rule_is_a_box_to_tick(admin: Administrator) -> None:
    """What holds or not is ticked, and no longer holds once the tick is taken away."""
    admin.done(PAGE, action="make", name="dev", promote_only="true")
    box = re.compile('name="promote_only" value="true" checked')
    form = admin.open(f"{PAGE}?change=dev").body.decode()
    (as_of,) = re.findall('name="as_of" value="([^"]+)"', form)
    assert box.search(form)

    admin.done(PAGE, action="change", name="dev", as_of=as_of)

    assert admin.server.index.server.index_administration.show()[2].keys == {"name": "dev"}
    assert not box.search(admin.open(f"{PAGE}?change=dev").body.decode())


def test_a_removed_rule_is_taken_away_by_its_box(admin: Administrator) -> None:
    """A rule of an earlier version is on the page, and goes when somebody ticks its box."""
    server, keys = admin.server, {"name": "dev", "promote_approvals": 1}
    made = IndexMade(at=server.clock.now, by="local:old", keys=keys)
    server.index.server.definitions.records.change(lambda _: (made,))
    assert "Nothing is promoted to the index dev" in admin.read(PAGE)
    page = admin.open(f"{PAGE}?change=dev")
    (as_of,) = re.findall('name="as_of" value="([^"]+)"', page.body.decode())
    assert "Take away the rule promote_approvals, which was removed." in text_of(page)

    refused = admin.send(PAGE, action="change", name="dev", as_of=as_of, index_size="5")

    assert refused.status == 409
    assert "Take them away on the page of indexes." in text_of(refused)
    admin.done(PAGE, action="change", name="dev", as_of=as_of, promote_approvals="removed")
    assert server.index.server.index_administration.show()[2].keys == {"name": "dev"}
    assert "removed" not in text_of(admin.open(f"{PAGE}?change=dev"))


def test_rules_are_fields_of_the_form(admin: Administrator) -> None:
    """Fields of the form make the rules of an index, and a wrong value is said beside its field."""
    rules = {
        "cooldown_days": "7",
        "min_cvss": "7.5",
        "prereleases": "false",
        "allow": "acme-*, tools",
        "versions": "numpy = <2; acme-* = >=1.4,<2",
    }
    admin.done(PAGE, action="make", name="dev", **rules)
    form = admin.open(f"{PAGE}?change=dev").body.decode()
    wrong = admin.send(PAGE, action="make", name="other", snapshot="yesterday")

    assert admin.server.index.server.index_administration.show()[2].keys == {
        "name": "dev",
        "cooldown_days": 7,
        "min_cvss": 7.5,
        "prereleases": False,
        "allow": ["acme-*", "tools"],
        "versions": {"numpy": "<2", "acme-*": ">=1.4,<2"},
    }
    assert 'name="prereleases" value="false" checked' in form
    assert 'value="numpy = &lt;2; acme-* = &gt;=1.4,&lt;2"' in form
    assert wrong.status == 400
    assert "snapshot: expected 2026-10-31, or a time" in text_of(wrong)


def test_a_removed_filter_is_replaced_by_its_keys(admin: Administrator) -> None:
    """The form of an index with a filter has its keys in place, and a box takes the filter away."""
    server = admin.server
    keys = {"name": "dev", "filter": 'age_days >= 7 and version < "2"'}
    made = IndexMade(at=server.clock.now, by="local:old", keys=keys)
    server.index.server.definitions.records.change(lambda _: (made,))
    assert "The index dev shows no file, as it has a filter" in admin.read(PAGE)
    form = admin.open(f"{PAGE}?change=dev")
    (as_of,) = re.findall('name="as_of" value="([^"]+)"', form.body.decode())
    fields = {"cooldown_days": "7", "versions": "* = <2"}
    for name, value in fields.items():
        assert f'name="{name}"' in form.body.decode()
        assert f'value="{value.replace("<", "&lt;")}"' in form.body.decode()

    refused = admin.send(PAGE, action="change", name="dev", as_of=as_of, **fields)

    assert refused.status == 409
    assert "Replace it on the page of indexes." in text_of(refused)
    assert 'name="action" value="change"' in refused.body.decode()
    admin.done(PAGE, action="change", name="dev", as_of=as_of, filter="removed", **fields)
    assert server.index.server.index_administration.show()[2].keys == {
        "name": "dev",
        "cooldown_days": 7,
        "versions": {"*": "<2"},
    }
    assert "Take away the filter" in text_of(form)
    assert "Take away the filter" not in text_of(admin.open(f"{PAGE}?change=dev"))


def test_form_is_shown_again_with_the_reason(admin: Administrator) -> None:
    """What cannot be the name of an index, and what does not fit, is said beside the field."""
    taken = admin.send(PAGE, action="make", name="tools")
    wrong = admin.send(PAGE, action="make", name="dev", layers="nobody")

    assert (taken.status, wrong.status) == (409, 400)
    assert "the name of a project" in text_of(taken)
    assert "there is no index 'nobody'" in text_of(wrong)
    assert 'value="nobody"' in wrong.body.decode()
    for action in ("change", "remove"):
        assert admin.open(f"{PAGE}?{action}=nobody").status == 404


def test_a_grant_names_its_indexes(admin: Administrator) -> None:
    """The list of grants says where they hold, and the form of a new one has all indexes."""
    fields = GrantFields(who=("htpasswd:a",), projects=("*",), actions=("read",), index="prod")
    grant_id = admin.server.index.server.access.grant(fields, "local:bo")

    page, question = admin.read("grants/"), admin.read(f"grants/?revoke={grant_id}")
    forms = [admin.open(f"grants/?action=add{more}") for more in ("", "&kind=htpasswd&who=a")]
    admin.server.index.server.access.revoke(grant_id, "local:bo")

    assert "Each one holds in the indexes that it names, and in no others" in page
    assert "read every project in the index prod" in page
    assert "read every project in the index prod" in question
    for form in forms:
        choices = re.findall(
            '<option(?: value="[^"]*")?( selected)?>([^<]+)</option>', form.body.decode()
        )
        assert [choice for choice in choices if choice[1] in {"main", "prod", "all indexes"}] == [
            (" selected", "main"),
            ("", "prod"),
            ("", "all indexes"),
        ]


def test_main_is_changed_by_its_form(tmp_path: Path) -> None:
    """Main comes first in the list, has no layers and no button to remove it, and is changed."""
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as server:
        admin = Administrator.of(server)
        page = admin.open(PAGE).body.decode()
        form = admin.open(f"{PAGE}?change=main").body.decode()
        (as_of,) = re.findall('name="as_of" value="([^"]+)"', form)
        fields = {"action": "change", "name": "main", "as_of": as_of, "read": "granted"}

        done = admin.done(PAGE, **fields, promote_only="true", project_files="3")
        again = admin.send(PAGE, **fields)

        assert "?change=main" in page
        assert "?remove=main" not in page
        assert 'href="../../../"><bdi class="id">main</bdi>' in page
        assert 'name="layers"' not in form
        assert re.search('name="read" value="" checked', form)
        assert re.search('name="promote_only" value="" checked', form)
        for words in ("read granted", "promote_only true", "project_files 3"):
            assert words in done
        assert (again.status, "was changed meanwhile" in text_of(again)) == (409, True)
        changed = admin.open(f"{PAGE}?change=main").body.decode()
        assert re.search('name="promote_only" value="true" checked', changed)
        assert admin.send(PAGE, action="remove", name="main").status == 400
        assert admin.open(f"{PAGE}?remove=main").status == 400
        assert "index main: changed, " in admin.read(f"{PAGE}history/")
        assert "index main: changed" in admin.read("journal/?what=main-changed")


def test_a_long_list_has_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No index is missing from the list, however many there are."""
    monkeypatch.setattr(table_pages, "ROWS_ON_A_PAGE", 2)
    tables = TABLES + toml_of(index=[{"name": name} for name in ("dev", "prod", "qa")])
    with in_process(tmp_path, settings_in(tmp_path), tables=tables) as server:
        admin = Administrator.of(server)
        shown = [
            re.findall(r"\?change=(\w+)", admin.open(f"{PAGE}?page={number}").body.decode())
            for number in (1, 2)
        ]

        assert shown == [["main", "dev"], ["prod", "qa"]]


def test_a_form_that_nobody_changes_changes_nothing(tmp_path: Path) -> None:
    """Who opens the form of an index and saves it as it is leaves no entry in the history."""
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as server:
        server.index.server.index_administration.add({"name": "dev"}, "local:bo")
        admin = Administrator.of(server)
        before = admin.read(f"{PAGE}history/")
        for name in ("main", "dev"):
            form = admin.open(f"{PAGE}?change={name}").body.decode()
            (as_of,) = re.findall('name="as_of" value="([^"]+)"', form)
            ticked = dict(re.findall('type="radio" name="([^"]+)" value="([^"]*)" checked', form))
            sent = {"action": "change", "name": name, "as_of": as_of, **ticked}
            admin.done(PAGE, **sent)

        assert admin.read(f"{PAGE}history/") == before
