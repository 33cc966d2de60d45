"""Examples of the operations on tables: publishers, namespaces, webhooks and indexes."""

from typing import Final

from msgspec import Struct

from tests.examples.example import (
    ADMINISTRATORS,
    NOTHING,
    Command,
    Example,
    Form,
    Json,
    Refusal,
    Request,
    Words,
)
from wheelyard.api import (
    apply_operations,
    journal_operations,
    retention_operations,
    webhook_operations,
)
from wheelyard.api.index_operations import INDEXES
from wheelyard.api.namespace_operations import NAMESPACES
from wheelyard.api.publisher_operations import PUBLISHERS
from wheelyard.api.table_operations import TableOperations
from wheelyard.api.webhook_operations import WEBHOOKS


class TableExample(Struct, frozen=True, kw_only=True):
    """A table of a kind, which the examples add, change and remove."""

    operations: TableOperations
    name: str
    keys: Json
    """The keys of the table beside its name."""
    change: Json
    """The keys that a change gives it, or None for those that it leaves out."""
    told: str
    """The keys in words, as people read them."""
    told_after: str
    """The keys in words after the change."""
    others: int = 0
    """The number of tables of the kind that are there already."""
    name_key: str = "name"
    """The key that has the name."""
    remove: str = "remove"
    """The subcommand that removes it, and the words of `add` and `change`."""
    add: str
    """The subcommand that adds it, with what it takes beside the name."""
    edit: str
    """The subcommand that changes it, with what it takes beside the name."""
    nameless: str
    """How a table without a name is refused."""
    unknown: str = "odd: there is no such key"
    """How an unknown key is refused."""
    removed: Json = NOTHING
    """A part of the answer to the removal."""
    wrong: tuple[Refusal, ...] = ()
    """How wrong values of its keys are refused."""
    wrong_change: tuple[Refusal, ...] = ()
    """How other changes are refused than that of an unknown table."""
    wrong_removal: tuple[Refusal, ...] = ()
    """How other removals are refused than that of an unknown table."""
    add_form: Json
    """The fields of the form that adds it, beside its name."""
    edit_form: Json
    """The fields of the form that changes it, beside its name."""


def examples_of(table: TableExample) -> tuple[Example, ...]:
    """Return the examples of the operations of a kind."""
    operations, noun, name = table.operations, table.operations.kind.noun, table.name
    key = {table.name_key: name}
    page = f"/-/admin/{operations.kind.plural}/"
    added = Request(operations.add, NOTHING, {noun: {**key, **table.keys}, "note": "T-7"})
    made: Json = {**key, noun: {**key, **table.keys}, "note": "T-7"}
    changed: Json = {**key, noun: {**key, **table.keys, **table.change}, "note": "T-8"}
    none = Refusal(code="not_found", words=f"There is no {noun} '{name}'")
    happened = f"{noun} {name}: {operations.kind.added_word}, {table.told} (T-7)"

    def nobody(line: str) -> Refusal:
        return Refusal(
            body={table.name_key: "nobody"},
            code="not_found",
            words=f"There is no {noun} 'nobody'",
            command=f"{noun} {line.replace(name, 'nobody', 1)}",
            fields={table.name_key: "nobody"},
        )

    listed = [NOTHING] * table.others
    return (
        Example(
            promise="lists the tables",
            before=(added,),
            request=Request(operations.list),
            who=ADMINISTRATORS,
            answer={operations.kind.plural: [*listed, made]},
            command=Command(line=f"{noun} list", prints=Words(done=f"{name}\t{table.told}")),
        ),
        Example(
            promise="shows the changes of tables after a number",
            before=(added,),
            request=Request(operations.history, NOTHING, {"after": str(table.others)}),
            who=ADMINISTRATORS,
            answer={"commits": [{"number": table.others + 1}]},
            refusals=(
                Refusal(body={"after": "x"}, code="invalid_field", words="after must be a number"),
            ),
            command=Command(line=f"{noun} history", prints=Words(done=happened)),
        ),
        Example(
            promise=f"lists changes of {operations.kind.title} among what happened",
            before=(added,),
            request=Request(
                journal_operations.list_entries,
                NOTHING,
                {"what": f"{noun}-{operations.kind.added_word}", "limit": "1"},
            ),
            who=ADMINISTRATORS,
            answer={"entries": [{"reason": happened}]},
            command=Command(
                line=f"journal --what {noun}-{operations.kind.added_word}",
                prints=Words(done=happened),
            ),
        ),
        Example(
            promise="adds a table",
            request=added,
            who=ADMINISTRATORS,
            answer=made,
            again=Refusal(code=operations.kind.exists_code, words=f"'{name}'"),
            after=((Request(operations.list), {operations.kind.plural: [*listed, made]}),),
            refusals=(
                Refusal(body={noun: {}}, code="invalid_field", words=table.nameless),
                Refusal(
                    body={noun: {**key, **table.keys, "odd": 1}},
                    code="invalid_field",
                    words=table.unknown,
                ),
                *table.wrong,
            ),
            command=Command(
                line=f"{noun} {table.add} --note T-7", prints=Words(done=f"{name}: {table.told}")
            ),
            form=Form(
                page=page,
                fields={**key, **table.add_form, "note": "T-7"},
                shows=Words(done=name),
            ),
        ),
        Example(
            promise="gives keys of a table other values, or none",
            before=(added,),
            request=Request(operations.change, NOTHING, {**key, noun: table.change, "note": "T-8"}),
            who=ADMINISTRATORS,
            answer=changed,
            after=((Request(operations.list), {operations.kind.plural: [*listed, changed]}),),
            refusals=(nobody(table.edit), *table.wrong_change),
            command=Command(
                line=f"{noun} {table.edit} --note T-8",
                prints=Words(done=f"{name}: {table.told_after}"),
            ),
            form=Form(
                page=page,
                shown_on=f"{page}?change={name}",
                fields={**key, **table.edit_form, "note": "T-8"},
                shows=Words(done=name),
            ),
        ),
        Example(
            promise="removes a table",
            before=(added,),
            request=Request(operations.remove, NOTHING, {**key, "note": "T-9"}),
            who=ADMINISTRATORS,
            answer=table.removed,
            again=none,
            after=(
                (Request(operations.list), {operations.kind.plural: listed}),
                (
                    Request(operations.history, NOTHING, {"after": str(table.others + 1)}),
                    {"commits": [{"event": {"note": "T-9"}}]},
                ),
            ),
            refusals=(nobody(f"{table.remove} {name}"), *table.wrong_removal),
            command=Command(
                line=f"{noun} {table.remove} {name} --note T-9",
                prints=Words(done=f"{name}: removed"),
            ),
            form=Form(
                page=page,
                fields={**key, "action": "remove", "note": "T-9"},
                shows=Words(done=name),
            ),
        ),
    )


def _no_hook(command: str, page_fields: Json = NOTHING) -> Refusal:
    """Return how an operation on a webhook that there is not is refused."""
    return Refusal(
        body={"name": "nobody"},
        code="not_found",
        words="There is no webhook 'nobody'",
        command=command,
        fields=page_fields,
    )


def _file(**tables: object) -> Json:
    """Return a file that describes an index by these tables."""
    return {"source": "index.toml", "tables": tables}


BUILDKITE: Final = {
    "provider": "buildkite",
    "organization": "acme",
    "pipeline": "release",
    "build_branch": "main",
    "step_key": "upload",
    "projects": ["demo"],
}
HOOKS: Final = "/-/admin/webhooks/"
LAB: Final = {"name": "lab"}
HOOK: Final = Request(
    WEBHOOKS.add,
    NOTHING,
    {
        "webhook": {
            "name": "hook",
            "url": "https://ci.example/hook",
            "events": ["yanked", "released"],
        }
    },
)
RULES: Final = Request(
    apply_operations.apply_files,
    NOTHING,
    {"files": [_file(retention=[{"projects": ["demo"], "keep_last": 1}])]},
)
EXAMPLES: Final = (
    *examples_of(
        TableExample(
            operations=PUBLISHERS,
            name="bk",
            name_key="id",
            keys=BUILDKITE,
            change={"projects": ["demo", "extras"], "step_key": None},
            told="provider buildkite, organization acme, pipeline release, build_branch main,"
            " step_key upload, projects demo, index main",
            told_after="provider buildkite, organization acme, pipeline release,"
            " build_branch main, projects demo extras, index main",
            add="add bk buildkite organization=acme pipeline=release build_branch=main"
            " step_key=upload projects=demo",
            edit="change bk projects=demo,extras step_key=",
            nameless="provider: expected github",
            wrong=(
                Refusal(
                    body={"publisher": {**BUILDKITE, "id": "bk", "projects": ["a*b"]}},
                    code="invalid_field",
                    words="'a*b' is not the exact name of a project",
                    command="publisher add bk buildkite projects=a*b organization=acme"
                    " pipeline=release build_branch=main",
                    fields={"projects": "a*b"},
                ),
                Refusal(
                    body={
                        "publisher": {
                            "id": "bk",
                            "provider": "github",
                            "projects": ["demo"],
                            "repository": "octo",
                        }
                    },
                    code="invalid_field",
                    words="expected OWNER/NAME",
                    command="publisher add bk github projects=demo repository=octo",
                ),
            ),
            add_form={
                "action": "add",
                "provider": "buildkite",
                "organization": "acme",
                "pipeline": "release",
                "build_branch": "main",
                "step_key": "upload",
                "projects": "demo",
            },
            edit_form={
                "action": "change",
                "provider": "buildkite",
                "organization": "acme",
                "pipeline": "release",
                "build_branch": "main",
                "step_key": "",
                "projects": "demo, extras",
                "index": "main",
            },
        )
    ),
    *examples_of(
        TableExample(
            operations=NAMESPACES,
            name="acme",
            keys={"owners": ["htpasswd:admin"]},
            change={"owners": ["htpasswd:manager"]},
            told="owners htpasswd:admin",
            told_after="owners htpasswd:manager",
            add="grant acme --owner htpasswd:admin",
            edit="change acme --owner htpasswd:manager",
            remove="revoke",
            nameless="name: is missing",
            wrong=(
                Refusal(
                    body={"namespace": {"name": "acme", "owners": ["nobody"]}},
                    code="invalid_field",
                    words="'nobody' is nobody that a grant can name",
                    command="namespace grant acme --owner nobody",
                    fields={"owners": "nobody"},
                ),
                Refusal(
                    body={"namespace": {"name": "acme-*", "owners": ["htpasswd:admin"]}},
                    code="invalid_field",
                    words="acme-*",
                    command="namespace grant acme-* --owner htpasswd:admin",
                    fields={"name": "acme-*"},
                ),
                Refusal(
                    body={"namespace": {"name": "", "owners": ["htpasswd:admin"]}},
                    code="invalid_field",
                    words="name",
                    command="namespace grant '' --owner htpasswd:admin",
                    fields={"name": ""},
                ),
                Refusal(
                    body={"namespace": {"name": "a-b-c-d-e", "owners": ["htpasswd:admin"]}},
                    code="invalid_field",
                    words="hyphens",
                    command="namespace grant a-b-c-d-e --owner htpasswd:admin",
                    fields={"name": "a-b-c-d-e"},
                ),
                Refusal(
                    body={"namespace": {"name": 7, "owners": ["htpasswd:admin"]}},
                    code="invalid_field",
                    words="name",
                ),
                Refusal(body={"namespace": {"name": "acme"}}, code="invalid_field", words="owners"),
                Refusal(
                    body={"namespace": {"name": "acme", "owners": []}},
                    code="invalid_field",
                    words="owners",
                    fields={"owners": ""},
                ),
                Refusal(
                    body={"namespace": {"name": "acme", "owners": ["anonymous"]}},
                    code="invalid_field",
                    words="anonymous can own nothing",
                    command="namespace grant acme --owner anonymous",
                    fields={"owners": "anonymous"},
                ),
                Refusal(
                    body={"namespace": {"name": "acme", "owners": ["allAuthenticated"]}},
                    code="invalid_field",
                    words="allAuthenticated can own nothing",
                    command="namespace grant acme --owner allAuthenticated",
                    fields={"owners": "allAuthenticated"},
                ),
                Refusal(
                    body={"namespace": {"name": "acme", "owners": ["group:nobody"]}},
                    code="unknown_group",
                    words="There is no group 'nobody'",
                    command="namespace grant acme --owner group:nobody",
                    fields={"owners": "group:nobody"},
                ),
            ),
            add_form={"action": "grant", "owners": "htpasswd:admin"},
            edit_form={"action": "change", "owners": "htpasswd:manager"},
        )
    ),
    *examples_of(
        TableExample(
            operations=WEBHOOKS,
            name="hook",
            keys={
                "url": "https://ci.example/hook",
                "events": ["released", "yanked"],
                "allow_private": True,
            },
            change={"projects": ["demo*"], "events": None},
            told="url https://ci.example/hook, events released yanked, allow_private true",
            told_after="url https://ci.example/hook, projects demo*, allow_private true",
            add="add hook url=https://ci.example/hook events=released,yanked allow_private=true",
            edit="change hook projects=demo* events=",
            nameless="name: is missing",
            wrong=(
                Refusal(
                    body={"webhook": {"name": "hook", "url": "ftp://x"}},
                    code="invalid_field",
                    words="it is no URL such as",
                    command="webhook add hook url=ftp://x",
                    fields={"url": "ftp://x"},
                ),
                Refusal(
                    body={
                        "webhook": {
                            "name": "hook",
                            "url": "https://ci.example/hook",
                            "events": ["exploded"],
                        }
                    },
                    code="invalid_field",
                    words="events",
                    command="webhook add hook url=https://ci.example/hook events=exploded",
                    fields={"events": "exploded"},
                ),
                Refusal(
                    body={
                        "webhook": {
                            "name": "hook",
                            "format": "slack",
                            "url": "https://chat.example/secret",
                        }
                    },
                    code="invalid_field",
                    words="set WHEELYARD_WEBHOOK_HOOK_URL",
                    command="webhook add hook format=slack url=https://chat.example/secret",
                    fields={"format": "slack"},
                ),
            ),
            add_form={
                "action": "add",
                "url": "https://ci.example/hook",
                "events": "released, yanked",
                "allow_private": "true",
            },
            edit_form={
                "action": "change",
                "url": "https://ci.example/hook",
                "events": "",
                "projects": "demo*",
                "allow_private": "true",
            },
        )
    ),
    *examples_of(
        TableExample(
            operations=INDEXES,
            name="lab",
            others=3,
            keys={"layers": ["lab", "dev"], "index_size": 0},
            change={"read": "anyone", "layers": None},
            told="layers lab dev, index_size 0",
            told_after="index_size 0, read anyone",
            add="add lab layers=lab,dev index_size=0",
            edit="change lab read=anyone layers=",
            nameless="name: is missing",
            removed={"name": "lab", "warnings": []},
            wrong=(
                Refusal(
                    body={"index": {"name": "simple"}},
                    code="invalid_index",
                    words="it is a word of the paths of this server",
                    command="index add simple",
                    fields={"name": "simple"},
                ),
                Refusal(
                    body={"index": {"name": "main"}},
                    code="invalid_index",
                    words="it is the name of the index at the root of the server",
                    command="index add main",
                    fields={"name": "main"},
                ),
                Refusal(
                    body={"index": {"name": "lab", "index_size": "many"}},
                    code="invalid_field",
                    words="index_size: expected a number of MiB",
                    command="index add lab index_size=many",
                    fields={"index_size": "many"},
                ),
                Refusal(
                    body={"index": {"name": "lab", "layers": ["upstream"]}},
                    code="invalid_index",
                    words="needs an [upstream]",
                    command="index add lab layers=upstream",
                    fields={"layers": "upstream"},
                ),
            ),
            wrong_change=(
                Refusal(
                    body={"name": "main", "index": {"merge": ["demo*"]}},
                    code="invalid_field",
                    words="it has no layers whose files could be merged",
                    command="index change main merge=demo*",
                ),
            ),
            wrong_removal=(
                Refusal(
                    body={"name": "main"},
                    code="invalid_index",
                    words="The index main is at the root of the server, and always there",
                    command="index remove main",
                    fields={"name": "main"},
                ),
            ),
            add_form={"action": "make", "layers": "lab, dev", "index_size": "0"},
            edit_form={
                "action": "change",
                "layers": "",
                "read": "anyone",
                "index_size": "0",
            },
        )
    ),
    Example(
        promise="shows the keys of one webhook",
        before=(HOOK,),
        request=Request(WEBHOOKS.list),
        who=ADMINISTRATORS,
        answer={
            "webhooks": [{"webhook": {"events": ["released", "yanked"]}, "secret_from": "store"}]
        },
        command=Command(
            line="webhook show hook",
            prints=Words(
                done="url\thttps://ci.example/hook events\treleased, yanked secret from\tstore"
            ),
        ),
    ),
    Example(
        promise="shows of a secret in a table only that it is kept",
        before=(HOOK,),
        request=Request(apply_operations.show_tables),
        who=ADMINISTRATORS,
        answer={"webhook": [{"name": "hook", "secret": "kept"}]},
        command=Command(line="show --toml", prints=Words(done='secret = "kept"')),
    ),
    Example(
        promise="makes another secret for a webhook",
        before=(HOOK,),
        request=Request(webhook_operations.make_secret, NOTHING, {"name": "hook", "note": "T-7"}),
        who=ADMINISTRATORS,
        answer={"name": "hook", "secret_from": "store"},
        does_again=True,
        after=(
            (
                Request(WEBHOOKS.history, NOTHING, {"after": "1"}),
                {"commits": [{"event": {"note": "another secret: T-7"}}]},
            ),
        ),
        refusals=(_no_hook("webhook new-secret nobody", {"name": "nobody"}),),
        command=Command(line="webhook new-secret hook --note T-7", prints=Words(done="whsec_")),
        form=Form(
            page=HOOKS,
            fields={"action": "new-secret", "name": "hook", "note": "T-7"},
            shows=Words(done="whsec_"),
        ),
    ),
    Example(
        promise="shows the last deliveries of a webhook",
        before=(HOOK,),
        request=Request(webhook_operations.list_deliveries, NOTHING, {"name": "hook"}),
        who=ADMINISTRATORS,
        answer={"name": "hook", "attempts": [], "waiting": [], "dead": []},
        refusals=(_no_hook("webhook deliveries nobody"),),
        command=Command(line="webhook deliveries hook"),
    ),
    Example(
        promise="sends again what was given up",
        before=(HOOK,),
        request=Request(webhook_operations.send_again, NOTHING, {"name": "hook"}),
        who=ADMINISTRATORS,
        answer={"name": "hook", "ids": []},
        refusals=(
            _no_hook("webhook send-again nobody --all", {"name": "nobody"}),
            Refusal(
                body={"ids": ["msg_x"]},
                code="not_found",
                words="has no message 'msg_x'",
                command="webhook send-again hook msg_x",
                fields={"id": "msg_x"},
            ),
        ),
        command=Command(line="webhook send-again hook --all"),
        form=Form(page=HOOKS, fields={"action": "send-again", "name": "hook"}),
    ),
    Example(
        promise="puts into the store what a file says of the index",
        request=Request(apply_operations.apply_files, NOTHING, {"files": [_file(index=[LAB])]}),
        who=ADMINISTRATORS,
        trial={"files": [{"is_done": False, "changes": [{"name": "lab", "outcome": "added"}]}]},
        answer={"files": [{"is_done": True, "changes": [{"name": "lab", "outcome": "added"}]}]},
        again={"files": [{"is_done": True, "changes": []}]},
        after=(
            (
                Request(apply_operations.show_tables),
                {"index": [{"name": "dev"}, {"name": "prod"}, {"name": "lab"}]},
            ),
        ),
        refusals=(
            Refusal(
                body={"files": [_file(odd=[LAB])]},
                code="wrong_file",
                words="There is no table 'odd'",
                command="apply wrong.toml",
            ),
            Refusal(
                body={"files": [{**_file(index=[LAB]), "source": ""}]},
                code="wrong_file",
                words="Name the source of each file.",
            ),
        ),
        command=Command(
            line="apply index.toml",
            trial="apply index.toml --dry-run",
            prints=Words(
                trial="index.toml: 1 change to make   + index lab: its own packages",
                done="index.toml: 1 change made   + index lab: its own packages",
                again="index.toml: nothing to change",
            ),
        ),
    ),
    Example(
        promise="says what rules of retention would delete",
        before=(RULES,),
        request=Request(retention_operations.preview_retention),
        who=ADMINISTRATORS,
        answer={"deleted": [{"project": "demo", "version": "1.0", "files": 2}]},
        refusals=(
            Refusal(
                body={"index": "nobody"},
                code="not_found",
                words="nobody",
                command="retention --dry-run --index nobody",
            ),
        ),
        command=Command(line="retention --dry-run", prints=Words(done="1 release with 2 files")),
    ),
    Example(
        promise="deletes what rules of retention say",
        before=(RULES,),
        request=Request(retention_operations.run_retention),
        who=ADMINISTRATORS,
        answer={"deleted": [{"project": "demo", "version": "1.0", "files": 2}]},
        again={"deleted": []},
        does_again=True,
        refusals=(
            Refusal(
                body={"index": "nobody"},
                code="not_found",
                words="nobody",
                command="retention --index nobody",
            ),
        ),
        command=Command(line="retention", prints=Words(done="1 release with 2 files")),
        form=Form(
            page="/-/admin/retention/",
            shown_on="/-/admin/retention/",
            fields={"confirmation": "delete"},
            shows=Words(done="1 release deleted"),
            again=Refusal(code="forbidden", words="No release would be deleted now"),
        ),
    ),
)
