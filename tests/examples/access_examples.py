"""Examples of the operations on rights and people, and of those that show what is so."""

from typing import Final

from tests.examples.example import (
    ADMINISTRATORS,
    CALLERS,
    NOTHING,
    READERS,
    Command,
    Example,
    Form,
    Json,
    Refusal,
    Request,
    Words,
)
from tests.examples.world import PACKAGES
from wheelyard.api import (
    access_operations,
    apply_operations,
    download_operations,
    health_operations,
    journal_operations,
    people_operations,
    project_operations,
    promotion_operations,
    usage_operations,
)
from wheelyard.api.namespace_operations import NAMESPACES

GRANT: Final = {"who": ["htpasswd:reader"], "projects": ["tool*"], "actions": ["read"]}
GRANTED: Final = Request(access_operations.add_grant, NOTHING, GRANT)
GROUP: Final = {"change": "set", "name": "team", "who": ["htpasswd:reader"]}
OWNED: Final = {"namespace": {"name": "owned", "owners": ["group:owner"]}}
PERSON: Final = {"who": "htpasswd:leaver", "note": "has left"}
ENDED: Final = Request(people_operations.end_person, NOTHING, PERSON)
BACK: Final = {**PERSON, "note": "is back"}
LIST: Final = Request(people_operations.list_people, NOTHING, {"search": "leaver"})
PEOPLE: Final = "/-/admin/people/"
DEMO_BYTES: Final = sum(len(made.body) for made in PACKAGES["main"])
GROUPS: Final = "/-/admin/groups/"
TEAM: Final = Request(access_operations.edit_group, NOTHING, GROUP)
OF_TEAM: Final = Request(access_operations.add_grant, NOTHING, {**GRANT, "who": ["group:team"]})


def _person(state: str) -> Json:
    """Return the list of people in which the reader has a state."""
    return {"people": [{"principal": "htpasswd:leaver", "state": state}]}


def _may_read(who: str, *, is_allowed: bool) -> tuple[Request, Json]:
    """Return the question whether somebody may read the project of the grant, and its answer."""
    question = {"who": f"htpasswd:{who}", "project": "tool-x", "action": "read"}
    return Request(access_operations.explain_access, NOTHING, question), {"allowed": is_allowed}


def _last_change(after: int, what: str, **fields: object) -> tuple[Request, Json]:
    """Return the question for the changes of rights after a number, and the one that there is."""
    commits = [{"event": {"what": what, **fields}}]
    return (
        Request(access_operations.access_history, NOTHING, {"after": str(after)}),
        {"commits": commits},
    )


def _group_of(change: str, *who: str, **fields: object) -> Request:
    """Return a change of the group `team`, which somebody makes of its members."""
    members = [f"htpasswd:{name}" for name in who]
    body = {"change": change, "name": "team", "who": members, **fields}
    return Request(access_operations.edit_group, NOTHING, body)


def _no_member(change: str) -> Refusal:
    """Return how a change of the members of a group is refused that names nobody."""
    return Refusal(body={"who": []}, code="invalid_field", words=f"one member to {change}")


def _no_group(change: str, member: str = "") -> Refusal:
    """Return how a change of a group that there is not is refused."""
    return Refusal(
        body={"name": "taem"},
        code="not_found",
        words="There is no group 'taem'",
        command=f"access group {change} taem {member}",
        fields={"group": "taem"},
    )


def _nobody(command: str) -> Refusal:
    """Return how an operation on a person is refused for a group."""
    return Refusal(
        body={"who": "group:team"},
        code="invalid_field",
        words="'group:team' is a group of grants, and no caller",
        command=f"people {command} group:team",
        fields={"who": "group:team"},
    )


def _wrong_note(command: str) -> Refusal:
    """Return how a note of two lines on a person is refused."""
    return Refusal(
        body={"note": "two\nlines"},
        code="invalid_field",
        words="without control characters",
        command=f"people {command} htpasswd:leaver --note 'two\nlines'",
        fields={"reason": "two\nlines"},
    )


EXAMPLES: Final = (
    Example(
        promise="says who the caller is and what it may do",
        request=Request(access_operations.whoami),
        who=CALLERS,
    ),
    Example(
        promise="lists grants and groups",
        before=(TEAM, GRANTED),
        request=Request(access_operations.show_access),
        who=ADMINISTRATORS,
        answer={"groups": [{"name": "team", "members": ["htpasswd:reader"]}]},
        command=Command(
            line="access show",
            prints=Words(
                done="by local:alice): htpasswd:reader may read tool* in the index main"
                " group team: htpasswd:reader"
            ),
        ),
    ),
    Example(
        promise="shows the changes of rights",
        before=(GRANTED,),
        request=Request(access_operations.access_history, NOTHING, {"after": "5"}),
        who=ADMINISTRATORS,
        answer={"commits": [{"event": {"what": "granted", "id": "{id}"}}]},
        refusals=(
            Refusal(body={"after": "x"}, code="invalid_field", words="after must be a number"),
        ),
        command=Command(line="access show --history", prints=Words(done="granted {id}")),
    ),
    Example(
        promise="says whether somebody may do something, and why",
        request=Request(
            access_operations.explain_access,
            NOTHING,
            {"who": "htpasswd:reader", "project": "demo", "action": "read"},
        ),
        who=ADMINISTRATORS,
        answer={"allowed": True},
        refusals=(
            Refusal(body={"action": "fly"}, code="invalid_field", words="action must be one of"),
            Refusal(
                body={"who": "token:0123456789"},
                code="not_found",
                words="There is no token with the id '0123456789'",
                command="access explain token:0123456789 demo read",
            ),
        ),
        command=Command(
            line="access explain htpasswd:reader demo read",
            prints=Words(done="yes: htpasswd:reader may read demo"),
        ),
    ),
    Example(
        promise="says by which group somebody may do something",
        before=(TEAM, OF_TEAM),
        request=_may_read("reader", is_allowed=True)[0],
        who=ADMINISTRATORS,
        answer={"allowed": True},
        command=Command(
            line="access explain htpasswd:reader tool-x read",
            prints=Words(
                done="grant {id}: group:team may read tool* in the index main;"
                " htpasswd:reader is in group:team"
            ),
        ),
    ),
    Example(
        promise="grants rights",
        request=Request(access_operations.add_grant, NOTHING, {**GRANT, "note": "T-7"}),
        who=ADMINISTRATORS,
        after=(
            _last_change(5, "granted", grant={"note": "T-7"}),
            _may_read("reader", is_allowed=True),
            _may_read("uploader", is_allowed=False),
        ),
        refusals=(
            Refusal(body={"who": []}, code="invalid_field", words="who"),
            Refusal(
                body={"who": ["nobody"]},
                code="invalid_field",
                words="'nobody' is nobody that a grant can name",
                command="access grant nobody --project tool* --can read",
                fields={"kind": "other", "who": "nobody"},
            ),
            Refusal(
                body={"who": ["group:nothing"]},
                code="unknown_group",
                words="There is no group 'nothing'",
                command="access grant group:nothing --project tool* --can read",
                fields={"kind": "group", "who": "nothing"},
            ),
            Refusal(
                body={"who": ["anonymous"], "actions": ["upload"]},
                code="invalid_field",
                words="anonymous may read, and nothing else",
                command="access grant anonymous --project tool* --can upload",
                fields={"kind": "anonymous", "who": "", "can": "upload"},
            ),
            Refusal(
                body={"actions": ["fly"]},
                code="invalid_field",
                words="'fly' is not an action",
                command="access grant htpasswd:reader --project tool* --can fly",
                fields={"can": "fly"},
            ),
            Refusal(
                body={"who": ["group:team@acme.dev"]},
                code="invalid_field",
                words="no credential tells of Google groups",
                command="access grant group:team@acme.dev --project tool* --can read",
            ),
            Refusal(
                body={"actions": ["admin"]},
                code="invalid_field",
                words="admin is for everything",
                command="access grant htpasswd:reader --project tool* --can admin",
            ),
            Refusal(
                body={"projects": ["a*b"]},
                code="invalid_field",
                words="'a*b' is not a project pattern",
                command="access grant htpasswd:reader --project a*b --can read",
                fields={"projects": "a*b"},
            ),
            Refusal(
                body={"note": "two\nlines"},
                code="invalid_field",
                words="A note has the character",
                command="access grant htpasswd:reader --project x --can read --note 'two\nlines'",
                fields={"note": "two\nlines"},
            ),
        ),
        command=Command(line="access grant htpasswd:reader --project tool* --can read --note T-7"),
        form=Form(
            page="/-/admin/grants/",
            fields={
                "action": "add",
                "kind": "htpasswd",
                "who": "reader",
                "projects": "tool*",
                "can": "read",
                "note": "T-7",
            },
            shows=Words(done="tool*"),
        ),
    ),
    Example(
        promise="revokes a grant",
        before=(GRANTED,),
        request=Request(access_operations.revoke_grant, NOTHING, {"id": "{id}", "note": "T-7"}),
        who=ADMINISTRATORS,
        again=Refusal(code="not_found", words="There is no grant '{id}'"),
        after=(_may_read("reader", is_allowed=False), _last_change(6, "revoked", note="T-7")),
        refusals=(
            Refusal(
                body={"id": "g0"},
                code="not_found",
                words="There is no grant 'g0'",
                command="access revoke g0",
                fields={"id": "g0"},
            ),
            Refusal(
                body={"note": "two\nlines"},
                code="invalid_field",
                words="A note has the character",
                command="access revoke {id} --note 'two\nlines'",
                fields={"note": "two\nlines"},
            ),
        ),
        command=Command(line="access revoke {id} --note T-7", prints=Words(done="{id}: revoked")),
        form=Form(
            page="/-/admin/grants/",
            fields={"action": "revoke", "id": "{id}", "note": "T-7"},
            shows=Words(done="Grant {id} is revoked"),
        ),
    ),
    Example(
        promise="says who is in a group",
        before=(_group_of("set", "uploader"), OF_TEAM),
        request=TEAM,
        who=ADMINISTRATORS,
        after=(_may_read("reader", is_allowed=True), _may_read("uploader", is_allowed=False)),
        refusals=(
            Refusal(body={"change": "fly"}, code="invalid_field", words="change must be one of"),
            Refusal(
                body={"name": "the team"},
                code="invalid_field",
                words="cannot be the name of a group",
                command="access group set 'the team' htpasswd:reader",
            ),
            Refusal(
                body={"who": ["anonymous"]},
                code="invalid_field",
                words="anonymous is in no group",
                command="access group set team anonymous",
            ),
            Refusal(
                body={"who": ["group:ops"]},
                code="invalid_field",
                words="groups are not nested",
                command="access group set team group:ops",
            ),
        ),
        command=Command(line="access group set team htpasswd:reader"),
    ),
    Example(
        promise="makes a group, once",
        request=_group_of("make"),
        who=ADMINISTRATORS,
        again=Refusal(code="group_exists", words="Change its members instead"),
        form=Form(
            page=GROUPS,
            fields={"action": "make", "group": "team"},
            shows=Words(done="Group team"),
        ),
    ),
    Example(
        promise="adds members to a group",
        before=(_group_of("set", "uploader"), OF_TEAM),
        request=_group_of("add", "reader"),
        who=ADMINISTRATORS,
        after=(_may_read("reader", is_allowed=True), _may_read("uploader", is_allowed=True)),
        refusals=(_no_group("add", "htpasswd:reader"), _no_member("add")),
        command=Command(line="access group add team htpasswd:reader"),
        form=Form(
            page=GROUPS,
            fields={"action": "add", "group": "team", "kind": "htpasswd", "who": "reader"},
            shows=Words(done="reader, by password"),
        ),
    ),
    Example(
        promise="removes members from a group",
        before=(_group_of("set", "uploader", "reader"), OF_TEAM),
        request=_group_of("remove", "reader"),
        who=ADMINISTRATORS,
        again=Refusal(code="not_found", words="htpasswd:reader is not in the group team"),
        after=(_may_read("reader", is_allowed=False), _may_read("uploader", is_allowed=True)),
        refusals=(_no_group("remove", "htpasswd:reader"), _no_member("remove")),
        command=Command(line="access group remove team htpasswd:reader"),
        form=Form(
            page=GROUPS,
            fields={"action": "remove", "group": "team", "member": "htpasswd:reader"},
        ),
    ),
    Example(
        promise="deletes a group that no grant names",
        after=(_last_change(9, "group-deleted", name="team", note="T-7"),),
        before=(
            TEAM,
            _group_of("set", name="owner"),
            Request(NAMESPACES.add, NOTHING, OWNED),
            _group_of("set", name="used"),
            Request(access_operations.add_grant, NOTHING, {**GRANT, "who": ["group:used"]}),
        ),
        request=_group_of("delete", note="T-7"),
        who=ADMINISTRATORS,
        again=Refusal(code="not_found", words="There is no group 'team'"),
        refusals=(
            _no_group("delete"),
            Refusal(
                body={"name": "used"},
                code="group_in_use",
                words="The group used has grants: {id}",
                command="access group delete used",
                fields={"group": "used"},
            ),
            Refusal(
                body={"name": "owner"},
                code="group_in_use",
                words="The group owner owns the namespace owned. Give that other owners",
                command="access group delete owner",
                fields={"group": "owner"},
            ),
        ),
        command=Command(line="access group delete team --note T-7"),
        form=Form(
            page=GROUPS,
            fields={"action": "delete", "group": "team", "note": "T-7"},
            shows=Words(done="The group team is deleted"),
        ),
    ),
    Example(
        promise="ends the access of a person",
        request=ENDED,
        who=ADMINISTRATORS,
        answer={"principal": "htpasswd:leaver", "state": "ended"},
        after=(
            (LIST, _person("ended")),
            _last_change(5, "person-ended", note="has left"),
            (
                Request(journal_operations.list_entries, NOTHING, {"what": "person-ended"}),
                {"entries": [{"what": "person-ended"}]},
            ),
        ),
        refusals=(_nobody("end"), _wrong_note("end")),
        command=Command(
            line="people end htpasswd:leaver --note 'has left'",
            prints=Words(done="htpasswd:leaver: ended"),
        ),
        form=Form(
            page=PEOPLE,
            fields={"action": "end", "who": "htpasswd:leaver", "reason": "has left"},
        ),
    ),
    Example(
        promise="admits a person again",
        before=(ENDED,),
        request=Request(people_operations.admit_person, NOTHING, BACK),
        who=ADMINISTRATORS,
        answer={"principal": "htpasswd:leaver", "state": "active"},
        after=((LIST, _person("active")), _last_change(6, "person-admitted", note="is back")),
        refusals=(_nobody("admit"), _wrong_note("admit")),
        command=Command(
            line="people admit htpasswd:leaver --note 'is back'",
            prints=Words(done="htpasswd:leaver: active"),
        ),
        form=Form(
            page=PEOPLE,
            fields={"action": "admit", "who": "htpasswd:leaver", "reason": "is back"},
        ),
    ),
    Example(
        promise="lists people",
        request=LIST,
        who=ADMINISTRATORS,
        answer=_person("active"),
        refusals=(Refusal(body={"state": "odd"}, code="invalid_field", words="state must be"),),
        command=Command(line="people list", prints=Words(done="htpasswd:reader\tactive")),
    ),
    Example(
        promise="shows what a person may do",
        request=Request(people_operations.show_person, NOTHING, {"who": "htpasswd:reader"}),
        who=ADMINISTRATORS,
        answer={"person": {"state": "active"}, "rights": [{"can": ["read"]}]},
        refusals=(_nobody("show"),),
        command=Command(line="people show htpasswd:reader", prints=Words(done="may read demo*")),
    ),
    Example(
        promise="lists the groups of providers",
        request=Request(people_operations.list_provider_groups),
        who=ADMINISTRATORS,
        answer={"groups": []},
        command=Command(line="people groups"),
    ),
    Example(
        promise="lists what happened in all indexes",
        request=Request(
            journal_operations.list_entries, NOTHING, {"project": "demo", "limit": "1"}
        ),
        who=ADMINISTRATORS,
        answer={"entries": [{"what": "uploaded", "project": "demo"}]},
        refusals=(Refusal(body={"before": "x"}, code="invalid_field", words="before"),),
        command=Command(line="journal demo", prints=Words(done="uploaded")),
    ),
    Example(
        promise="shows how much each project stores",
        request=Request(usage_operations.show_usage),
        who=ADMINISTRATORS,
        answer={"projects": [{"name": "demo", "files": 3, "bytes": DEMO_BYTES}]},
        command=Command(line="usage", prints=Words(done="3 files\tdemo")),
    ),
    Example(
        promise="says how the server is",
        request=Request(health_operations.show_health),
        who=ADMINISTRATORS,
        command=Command(line="health", prints=Words(done="ok\tstore"), is_about_the_process=True),
    ),
    Example(
        promise="shows the settings in force",
        request=Request(health_operations.show_settings),
        who=ADMINISTRATORS,
        command=Command(
            line="config show", prints=Words(done="access.private\ttrue"), is_about_the_process=True
        ),
    ),
    Example(
        promise="shows what describes the index",
        request=Request(apply_operations.show_tables),
        who=ADMINISTRATORS,
        answer={"main": {"promote_only": False}, "index": [{"name": "dev"}, {"name": "prod"}]},
        command=Command(line="show --toml", prints=Words(done="promote_only = false")),
    ),
    Example(
        promise="lists a release in another index, too",
        request=Request(
            promotion_operations.promote,
            {"name": "demo-tool"},
            {"version": "1.0", "to": "prod"},
            "dev",
        ),
        who=ADMINISTRATORS,
        is_hidden=True,
        trial={"promoted": [{"version": "1.0"}]},
        answer={"promoted": [{"version": "1.0"}], "present": []},
        again={"promoted": [], "present": [{"version": "1.0"}]},
        after=(
            (
                Request(project_operations.get_journal, {"name": "demo-tool"}, NOTHING, "prod"),
                {"commits": [{"events": [{"file": {"promoted_from": "dev"}}]}]},
            ),
        ),
        refusals=(
            Refusal(
                body={"version": "9.0"},
                code="not_found",
                words="9.0",
                command="promote demo-tool 9.0 --from dev --to prod",
            ),
            Refusal(
                body={"to": "nobody"},
                code="not_found",
                words="There is no index 'nobody'",
                command="promote demo-tool 1.0 --from dev --to nobody",
                fields={"to": "nobody"},
            ),
            Refusal(
                body={"to": "dev"},
                code="invalid_field",
                words="FROM and TO are both dev",
                command="promote demo-tool 1.0 --from dev --to dev",
                fields={"to": "dev"},
            ),
            Refusal(
                body={"to": ""},
                code="invalid_field",
                words="The field to is empty",
                fields={"to": ""},
            ),
            Refusal(body={"to": 7}, code="invalid_field", words="to must be a string"),
            Refusal(body={"from": "dev"}, code="invalid_field", words="unknown field 'from'"),
            Refusal(
                body={"version": "latest"},
                code="invalid_version",
                words="'latest' is not a version",
                command="promote demo-tool latest --from dev --to prod",
            ),
            Refusal(
                arguments={"name": "nothing"},
                code="not_found",
                words="nothing",
                command="promote nothing 1.0 --from dev --to prod",
            ),
        ),
        command=Command(
            line="promote demo-tool 1.0 --from dev --to prod",
            trial="promote demo-tool 1.0 --from dev --to prod --dry-run",
            prints=Words(
                trial="demo-tool 1.0: would be promoted to prod",
                done="demo-tool 1.0: promoted to prod",
                again="demo-tool 1.0: already in prod",
            ),
        ),
        form=Form(
            page="/dev/project/demo-tool/1.0/promote/",
            fields={"action": "promote", "to": "prod"},
            shows=Words(done="All files of this release are there already"),
        ),
    ),
    Example(
        promise="shows how often a project was downloaded",
        request=Request(download_operations.show_downloads, {"name": "demo"}, {"days": "7"}),
        who=READERS,
        is_hidden=True,
        answer={"name": "demo", "downloads": 0},
        refusals=(
            Refusal(body={"days": "x"}, code="invalid_field", words="days must be a number"),
            Refusal(
                arguments={"name": "nothing"},
                code="not_found",
                words="nothing",
                command="downloads nothing",
            ),
        ),
        command=Command(line="downloads demo", prints=Words(done="0 downloads")),
    ),
    Example(
        promise="names the projects for the settings of a client",
        request=Request(project_operations.client_projects, NOTHING, {"project": "demo"}),
        who=READERS,
        is_hidden=True,
        answer={"projects": ["demo"]},
    ),
)
