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

GRANT: Final = {"who": ["htpasswd:reader"], "projects": ["tool*"], "actions": ["read"]}
GRANTED: Final = Request(access_operations.add_grant, NOTHING, GRANT)
GROUP: Final = {"change": "set", "name": "team", "who": ["htpasswd:reader"]}
PERSON: Final = {"who": "htpasswd:leaver", "note": "has left"}
ENDED: Final = Request(people_operations.end_person, NOTHING, PERSON)
LIST: Final = Request(people_operations.list_people, NOTHING, {"search": "leaver"})
PEOPLE: Final = "/-/admin/people/"
NOBODY: Final = Refusal(
    body={"who": "group:team"},
    code="invalid_field",
    words="group:team",
)


def _person(state: str) -> Json:
    """Return the list of people in which the reader has a state."""
    return {"people": [{"principal": "htpasswd:leaver", "state": state}]}


EXAMPLES: Final = (
    Example(
        promise="says who the caller is and what it may do",
        request=Request(access_operations.whoami),
        who=CALLERS,
    ),
    Example(
        promise="lists grants and groups",
        before=(GRANTED,),
        request=Request(access_operations.show_access),
        who=ADMINISTRATORS,
        command=Command(line="access show", prints=Words(done="htpasswd:reader may read tool*")),
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
        ),
        command=Command(
            line="access explain htpasswd:reader demo read",
            prints=Words(done="yes: htpasswd:reader may read demo"),
        ),
    ),
    Example(
        promise="grants rights",
        request=GRANTED,
        who=ADMINISTRATORS,
        refusals=(
            Refusal(body={"who": []}, code="invalid_field", words="who"),
            Refusal(
                body={"actions": ["fly"]},
                code="invalid_field",
                words="fly",
                command="access grant htpasswd:reader --project tool* --can fly",
            ),
        ),
        command=Command(line="access grant htpasswd:reader --project tool* --can read"),
        form=Form(
            page="/-/admin/grants/",
            fields={
                "action": "add",
                "kind": "htpasswd",
                "who": "reader",
                "projects": "tool*",
                "can": "read",
            },
            shows=Words(done="tool*"),
        ),
    ),
    Example(
        promise="revokes a grant",
        before=(GRANTED,),
        request=Request(access_operations.revoke_grant, NOTHING, {"id": "{id}"}),
        who=ADMINISTRATORS,
        again=Refusal(code="not_found", words="There is no grant '{id}'"),
        refusals=(
            Refusal(
                body={"id": "g0"},
                code="not_found",
                words="There is no grant 'g0'",
                command="access revoke g0",
                fields={"id": "g0"},
            ),
        ),
        command=Command(line="access revoke {id}"),
        form=Form(page="/-/admin/grants/", fields={"action": "revoke", "id": "{id}"}),
    ),
    Example(
        promise="says who is in a group",
        request=Request(access_operations.edit_group, NOTHING, GROUP),
        who=ADMINISTRATORS,
        refusals=(
            Refusal(body={"change": "fly"}, code="invalid_field", words="change must be one of"),
        ),
        command=Command(line="access group set team htpasswd:reader"),
    ),
    Example(
        promise="ends the access of a person",
        request=ENDED,
        who=ADMINISTRATORS,
        answer={"principal": "htpasswd:leaver", "state": "ended"},
        after=((LIST, _person("ended")),),
        refusals=(NOBODY,),
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
        request=Request(people_operations.admit_person, NOTHING, PERSON),
        who=ADMINISTRATORS,
        answer={"principal": "htpasswd:leaver", "state": "active"},
        after=((LIST, _person("active")),),
        refusals=(NOBODY,),
        command=Command(
            line="people admit htpasswd:leaver",
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
        answer={"projects": [{"name": "demo", "files": 3}]},
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
                words="nobody",
                command="promote demo-tool 1.0 --from dev --to nobody",
            ),
        ),
        command=Command(
            line="promote demo-tool 1.0 --from dev --to prod",
            trial="promote demo-tool 1.0 --from dev --to prod --dry-run",
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
