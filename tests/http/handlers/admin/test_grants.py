"""The pages of grants, groups, and who may do what."""

import re
from html import unescape
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.http.handlers.admin.administering import TABLES, Administrator, settings_in, text_of
from tests.http.in_process import InProcessServer, in_process
from wheelyard.model.grants import GrantFields
from wheelyard.operations.access_control import ListedGrant
from wheelyard.settings.sections import ServerSettings
from wheelyard.storage.memory import MemoryStore

WANTED = {
    "action": "add",
    "kind": "htpasswd",
    "who": "reader",
    "can": "upload",
    "projects": "acme-*, tools",
    "note": "TEAM-12",
}


def grants(server: InProcessServer) -> dict[str, ListedGrant]:
    """Return the grants with a note, by it."""
    listed = server.index.server.access.show().grants
    return {grant.note: grant for grant in listed if grant.note}


def add(server: InProcessServer, note: str, who: str = "htpasswd:reader", can: str = "read") -> str:
    """Add a grant, and return its id."""
    projects = ("*",) if can == "admin" else (f"{note}-*",)
    fields = GrantFields(who=(who,), projects=projects, actions=(can,), note=note)
    return server.index.server.access.grant(fields, "local:bo")


@pytest.mark.parametrize("path", ["grants/", "grants/history/", "groups/", "explain/"])
@pytest.mark.parametrize("name", ["reader", "stranger"])
def test_rights_are_for_administrators(server: InProcessServer, path: str, name: str) -> None:
    """Who is no administrator sees no grant and no group, and their forms change nothing."""
    person = Administrator.of(server, name)
    before = server.index.server.access.show()

    answers = [person.open(path), person.open(f"{path}?action=add")]
    if path in {"grants/", "groups/"}:
        answers += [person.send(path, **WANTED), person.send(path, action="make", group="own")]

    assert {answer.status for answer in answers} == {403}
    assert server.index.server.access.show() == before


def test_grants_are_shown_with_who_made_them(admin: Administrator) -> None:
    """The list has who added each grant, and when, or from which file."""
    grant_id = add(admin.server, "shown", "oidc:acme:ana@acme.dev")

    page = admin.read("grants/?search=shown")

    assert "ana@acme.dev, by acme oidc:acme:ana@acme.dev" in page
    assert f" {grant_id} 2026-01-01 by bo, on the command line" in page
    assert "1 grant " in page
    every = admin.read("grants/")
    assert "the group team" in every
    assert "No grant fits" in admin.read("grants/?search=nothing-like-it")


def test_grant_is_added_by_its_parts(admin: Administrator) -> None:
    """A grant is added by kind and name, counts at once, and the history has it."""
    answer = admin.send("grants/", **WANTED)

    assert answer.status == 201
    assert (
        "htpasswd:reader may read and upload to acme-*, tools in the index main (TEAM-12)"
        in text_of(answer)
    )
    added = grants(admin.server)["TEAM-12"]
    assert (added.who, added.can) == (("htpasswd:reader",), ("read", "upload"))
    assert added.created_by == "htpasswd:admin"
    again = admin.send("grants/", **WANTED)
    assert (again.status, grants(admin.server)["TEAM-12"].id) == (201, added.id)
    explained = admin.read("explain/?kind=htpasswd&who=reader&project=acme-core&can=upload")
    assert "Yes: reader, by password may upload to acme-core" in explained
    assert f"grant {added.id}" in explained
    history = admin.read("grants/history/")
    assert f"granted {added.id}: reader, by password may read and upload to acme-*" in history


@pytest.mark.parametrize(
    ("kind", "who", "expected"),
    [
        ("group", "team", "group:team"),
        ("other", "user:Ana@Acme.dev", "user:ana@acme.dev"),
        ("allAuthenticated", "", "allAuthenticated"),
        ("htpasswd", "htpasswd:reader", "htpasswd:reader"),
    ],
)
def test_kinds_of_principals(admin: Administrator, kind: str, who: str, expected: str) -> None:
    """A kind and a name make the principal, and a whole principal is taken as it is."""
    note = f"kind {kind}"

    answer = admin.send("grants/", **{**WANTED, "kind": kind, "who": who, "note": note})

    assert answer.status == 201, text_of(answer)
    assert grants(admin.server)[note].who == (expected,)


def test_grant_to_everybody_is_for_reading(admin: Administrator) -> None:
    """Everybody may be granted reading, without a credential, and nothing else."""
    wanted = {**WANTED, "kind": "anonymous", "who": "", "note": "to all"}
    refused = admin.send("grants/", **wanted)
    answer = admin.send("grants/", **{**wanted, "can": "read"})

    assert (refused.status, "anonymous may read, and nothing else" in text_of(refused)) == (
        400,
        True,
    )
    assert answer.status == 201, text_of(answer)
    assert grants(admin.server)["to all"].who == ("anonymous",)
    assert "access.private is set, which closes every index" in text_of(answer)


def test_a_name_that_nobody_has_is_warned_of(admin: Administrator) -> None:
    """The page after a grant says if nobody has the name that was typed."""
    page = text_of(admin.send("grants/", **{**WANTED, "who": "reeder"}))
    assert "But: nobody has htpasswd:reeder now: it is not in the htpasswd file" in page


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"who": ""}, 400, "who"),
        ({"kind": "other", "who": "anonymous"}, 400, "who"),
        ({"kind": "other", "who": "nonsense"}, 400, "who"),
        ({"kind": "allAuthenticated", "who": "bob"}, 400, "who"),
        ({"kind": "group", "who": "no-such-group"}, 409, "who"),
        ({"can": ""}, 400, "can"),
        ({"projects": ""}, 400, "projects"),
        ({"projects": "*-core"}, 400, "projects"),
        ({"can": "admin"}, 400, "projects"),
        ({"note": "x" * 201}, 400, "note"),
        ({"csrf_token": ""}, 403, ""),
    ],
)
def test_what_was_typed_is_kept(
    admin: Administrator, changes: dict[str, str], status: int, field: str
) -> None:
    """A grant that is refused comes again with the reason beside its field, and is not added."""
    before, wanted = grants(admin.server), {**WANTED, "note": "kept", **changes}

    answer = admin.send("grants/", **wanted)

    page = answer.body.decode()
    assert answer.status == status
    assert (f'id="{field}-error"' in page) == bool(field)
    assert f'value="{wanted["note"]}"' in page
    assert f'<option value="{wanted["kind"]}" selected>' in page
    assert grants(admin.server) == before


def test_grant_is_revoked_after_a_question(admin: Administrator) -> None:
    """A grant is revoked with a note after a question; another revocation finds nothing."""
    grant_id = add(admin.server, "outdated")
    question = admin.read(f"grants/?revoke={grant_id}")
    assert f"Revoke grant {grant_id} Who reader, by password" in question

    page = admin.done("grants/", action="revoke", id=grant_id, note="left the team")

    assert f"Grant {grant_id} is revoked" in page
    assert "outdated" not in grants(admin.server)
    assert f"revoked {grant_id} (left the team)" in admin.read("grants/history/")
    again = admin.send("grants/", action="revoke", id=grant_id)
    assert (again.status, "not there any more" in text_of(again)) == (404, True)


def test_administrator_is_warned_before_giving_up_the_right(server: InProcessServer) -> None:
    """Who is an administrator by one grant or group alone has to confirm that it is taken away."""
    members, access = (
        {"action": "remove", "group": "chiefs", "member": "htpasswd:stranger"},
        server.index.server.access,
    )
    access.edit_group("make", "chiefs", ["htpasswd:stranger"], "local:bo")
    grant_id = add(server, "chiefs", "group:chiefs", "admin")
    person = Administrator.of(server, "stranger")
    refused = [
        person.send("grants/", action="revoke", id=grant_id),
        person.send("groups/", **members),
    ]
    assert [answer.status for answer in refused] == [409, 409]
    assert all("I know that I am no administrator afterwards" in text_of(each) for each in refused)

    answer = person.send("groups/", **members, even_if_own="yes")

    assert answer.status == 303
    server.clock.advance(seconds=2)
    assert person.open("groups/").status == 403
    Administrator.of(server).done("grants/", action="revoke", id=grant_id)


def test_another_way_to_the_right_needs_no_warning(server: InProcessServer) -> None:
    """Who stays an administrator by another grant is not warned."""
    grant_id = add(server, "second", "htpasswd:admin", "admin")

    assert Administrator.of(server).send("grants/", action="revoke", id=grant_id).status == 303


def test_group_is_made_filled_and_deleted(admin: Administrator) -> None:
    """A group is made, gets and loses members, and is deleted once no grant names it."""
    form = admin.open("groups/?action=make").body.decode()
    assert ('name="group"' in form, 'value="make"' in form) == (True, True)
    page = admin.done("groups/", action="make", group="ml-team", note="for ml")
    assert "Group ml-team" in page
    add_ana = {"action": "add", "group": "ml-team", "kind": "other", "who": "user:cleo@acme.dev"}
    added = admin.send("groups/", **add_ana)
    assert (added.status, "cleo@acme.dev, by Google" in text_of(added)) == (200, True)
    assert "The member is added. Servers obey within 15 seconds. But: nobody has" in text_of(added)
    admin.send("groups/", **{**add_ana, "who": "user:ben@acme.dev"})
    nameless = admin.send("groups/", action="make", group="-", note="for the nameless")
    assert (nameless.status, "Make a group" in text_of(nameless)) == (400, True)
    assert 'value="for the nameless"' in nameless.body.decode()
    assert 'id="group-error"' in nameless.body.decode()
    taken = admin.send("groups/", action="make", group="ml-team")
    assert (taken.status, 'id="group-error"' in taken.body.decode()) == (409, False)
    assert "Change its members instead" in text_of(taken)
    grant_id = add(admin.server, "ml", "group:ml-team")
    in_use = admin.send("groups/", action="delete", group="ml-team")
    assert (in_use.status, "has grants" in text_of(in_use)) == (409, True)
    assert "read ml-*" in admin.read("groups/?group=ml-team")

    removed = admin.done("groups/", action="remove", group="ml-team", member="user:cleo@acme.dev")
    admin.server.index.server.access.revoke(grant_id, "local:bo")
    deleted = admin.done("groups/", action="delete", group="ml-team", note="done")

    assert "cleo@acme.dev" not in removed
    assert "ben@acme.dev" in removed
    assert "The group ml-team is deleted" in deleted
    assert admin.open("groups/?group=ml-team").status == 404
    assert "group ml-team: deleted (done)" in admin.read("grants/history/")


def test_somebody_is_selected_before_they_are_removed(admin: Administrator) -> None:
    """The form of a group without a selected member says so, and removes nobody."""
    nobody = admin.send("groups/", action="remove", group="team")

    assert (nobody.status, "Nobody is selected" in text_of(nobody)) == (400, True)
    assert "stranger, by password" in admin.read("groups/?group=team")


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 200, "Who may do what"),
        ("kind=htpasswd&who=reader&project=demo-lib&can=read", 200, "Yes: reader, by password may"),
        ("kind=htpasswd&who=reader&project=demo&can=manage", 200, "They get 403"),
        ("kind=anonymous&who=&project=demo&can=read", 200, "They get 401"),
        ("kind=htpasswd&who=reader&project=-&can=read", 400, "Error"),
        ("kind=htpasswd&who=&project=demo&can=read", 400, "Write the name as well"),
        ("kind=token&who=x&project=demo&can=read", 400, "is no token"),
        ("kind=token&who=0123456789&project=demo&can=read", 404, "no token with the id"),
    ],
)
def test_explanation(admin: Administrator, query: str, status: int, words: str) -> None:
    """The page says yes or no, and why, or what is wrong with the question."""
    answer = admin.open(f"explain/?{query}")

    assert (answer.status, words in text_of(answer)) == (status, True), text_of(answer)


def test_explanation_leads_to_what_gives_the_right(admin: Administrator) -> None:
    """A yes names people in words, and leads to the grant, the group and the person."""
    fields = GrantFields(
        who=("group:team",), projects=("led-*",), actions=("upload",), note="the whole team"
    )
    grant_id = admin.server.index.server.access.grant(fields, "local:bo")
    path = "explain/?kind=htpasswd&who=stranger&project=led-core&can=upload"

    page, words = admin.open(path).body.decode(), admin.read(path)

    right = "the group team may read and upload to led-* in the index main (the whole team)"
    assert f"grant {grant_id} : {right} ; stranger, by password is in the group" in words
    assert "htpasswd:stranger" not in words
    for link in (
        f"../grants/?search={grant_id}",
        "../groups/?group=team",
        "../people/?who=htpasswd%3Astranger",
    ):
        assert f'href="{link}"' in page
    assert "Give this right" not in page


@pytest.mark.parametrize(
    ("question", "selected"),
    [
        (
            "kind=htpasswd&who=reader&project=Led.Core&can=manage&index=main",
            ('value="htpasswd" selected', 'value="reader"', 'value="manage" checked'),
        ),
        (
            "kind=other&who=user:ana@acme.dev,domain:acme.dev&project=led-core&can=upload",
            ('value="other" selected', 'value="user:ana@acme.dev"', 'value="upload" checked'),
        ),
        (
            "kind=htpasswd&who=reader&project=led-core&can=admin",
            ('value="admin" checked', 'value="*"', '<option value="*" selected>all indexes'),
        ),
    ],
)
def test_explanation_leads_to_the_form_that_gives_the_right(
    admin: Administrator, question: str, selected: tuple[str, ...]
) -> None:
    """A no leads to the form for a grant, filled in with the question."""
    page = admin.open(f"explain/?{question}").body.decode()
    link = re.search(r'href="../(grants/[^"]*)">Give this right</a>', page)
    assert link is not None

    form = admin.open(unescape(link[1])).body.decode()

    assert [text for text in selected if text not in form] == []


@pytest.mark.parametrize(
    "question", ["kind=anonymous&who=&can=upload", "kind=htpasswd&who=nobody&can=read"]
)
def test_no_grant_helps_whom_none_can_help(admin: Administrator, question: str) -> None:
    """A no that no grant would change leads to no form for one."""
    words = admin.read(f"explain/?{question}&project=demo")

    assert ("They get 401" in words, "Give this right" in words) == (True, False)


def test_history_has_pages(server: InProcessServer) -> None:
    """The newest changes come first, and older ones are on further pages."""
    for number in range(60):
        server.index.server.access.edit_group("set", f"many-{number:02}", [], "local:bo")
    admin = Administrator.of(server)

    newest, older = admin.read("grants/history/"), admin.read("grants/history/?page=2")

    assert newest.index("group many-59") < newest.index("group many-58")
    assert "group many-09" not in newest
    assert "group many-09" in older
    assert admin.open("grants/history/?page=99").status == 404


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("groups/?group=own", "stranger, by password"),
        ("groups/?group=own&action=delete", "takes no changes"),
        ("tokens/?revoke=x7Kq2mPz4A", "takes no changes"),
    ],
)
def test_read_only_server_only_shows(tmp_path: Path, path: str, kept: str) -> None:
    """A server that takes no changes has no form for one."""
    settings, store = settings_in(tmp_path), MemoryStore(lambda: 0.0)
    with in_process(tmp_path, settings, store=store, tables=TABLES) as server:
        server.index.server.access.edit_group("make", "own", ["htpasswd:stranger"], "local:bo")
    closed = ServerSettings(public_url="http://index", read_only=True)
    with in_process(tmp_path, replace(settings, server=closed), store=store) as server:
        answer = Administrator.of(server).open(path)

    assert answer.status == 200
    assert kept in text_of(answer)
    assert 'name="action" value="re' not in answer.body.decode()
    assert 'name="action" value="delete' not in answer.body.decode()
