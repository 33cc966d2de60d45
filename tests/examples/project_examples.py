"""Examples of the operations on projects: their releases, status and names."""

from collections.abc import Mapping
from typing import Final

from tests.examples.example import (
    ADMINISTRATORS,
    CALLERS,
    MANAGERS,
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
from tests.examples.world import NEW_WHEEL, SDIST, WHEEL
from wheelyard.api import journal_operations
from wheelyard.api import project_operations as operations

DEMO: Final = {"name": "demo"}
SHOWN: Final = Request(operations.get_project, DEMO)
MANAGE: Final = "/project/demo/manage/"
NAMES: Final = "/-/admin/names/"
FILES: Final = (WHEEL.filename, SDIST.filename)
"""The files of the release that examples change."""
RELEASE: Final = {"version": "1.0", "reason": "broken"}
FIELDS: Final[Mapping[str, str | tuple[str, ...]]] = {
    "version": "1.0",
    "file": FILES,
    "reason": "broken",
}
YANKED: Final = Request(operations.yank, DEMO, RELEASE)
PINNED: Final = Request(operations.pin, DEMO, RELEASE)
DELETED: Final = Request(operations.delete, DEMO, RELEASE)
RESERVED: Final = Request(operations.reserve_name, {"name": "demo-next"}, {"reason": "soon"})
NOT_YANKED: Final = (
    SHOWN,
    {"files": [{"yanked": False}, {"yanked": False}, {"yanked": False}]},
)


def _files(**fields: object) -> list[Json]:
    """Return the files of the release with these fields, as an answer has them."""
    return [{"filename": filename, **fields} for filename in FILES]


def _wrong_reason(command: str) -> Refusal:
    """Return how a reason of two lines is refused."""
    return Refusal(
        body={"reason": "two\nlines"},
        code="invalid_field",
        words="The reason has the character",
        command=f"{command} --reason 'two\nlines'",
        fields={"reason": "two\nlines"},
    )


def _refusals(verb: str) -> tuple[Refusal, ...]:
    """Return what each change of releases refuses."""
    return (
        Refusal(
            body={"version": "9.0"},
            code="not_found",
            words="demo has no version 9.0",
            command=f"{verb} demo 9.0",
        ),
        Refusal(
            body={"version": "not-a-version"},
            code="invalid_version",
            words="'not-a-version' is not a version",
            command=f"{verb} demo not-a-version",
        ),
        Refusal(
            body={"file": ["demo-1.0-other.whl", WHEEL.filename]},
            code="not_found",
            words="demo has no file 'demo-1.0-other.whl'",
            fields={"file": ("demo-1.0-other.whl", WHEEL.filename)},
        ),
        Refusal(
            body={"reason": "x" * 1025},
            code="invalid_field",
            words="The reason has 1025 characters",
            command=f"{verb} demo 1.0 --reason {'x' * 1025}",
            fields={"reason": "x" * 1025},
        ),
        Refusal(
            body={"versions": ">1"},
            code="invalid_field",
            words="version or versions, not both",
        ),
        Refusal(
            body={"file": "demo-1.0-other.whl"},
            code="not_found",
            words="demo has no file 'demo-1.0-other.whl'",
            command=f"{verb} demo 1.0 --file demo-1.0-other.whl",
            fields={"file": "demo-1.0-other.whl"},
        ),
        _wrong_reason(f"{verb} demo 1.0"),
        Refusal(
            arguments={"name": "nothing"},
            code="not_found",
            words="nothing",
            command=f"{verb} nothing 1.0",
        ),
    )


def _wrong_sets(verb: str) -> tuple[Refusal, ...]:
    """Return which sets of versions each change of releases refuses."""
    return (
        Refusal(
            body={"versions": "1.0"},
            code="invalid_version",
            words="'1.0' is not a set of versions",
            command=f"{verb} demo --versions 1.0",
        ),
        Refusal(
            body={"versions": ">9"},
            code="not_found",
            words="demo has no version in '>9'",
            command=f"{verb} demo --versions >9",
        ),
    )


def _entries_of_name(*entries: Json) -> tuple[Request, Json]:
    """Return the question for what happened to the reserved name, and the answer, newest first."""
    request = Request(journal_operations.list_entries, NOTHING, {"project": "demo-next"})
    return request, {"entries": entries}


def _journal(what: str, after: int = 3, reason: str = RELEASE["reason"]) -> tuple[Request, Json]:
    """Return the question for the last commit of the project, and the answer that has a change."""
    commits = [{"events": [{"what": what, "reason": reason}]}]
    return Request(operations.get_journal, DEMO, {"after": str(after)}), {"commits": commits}


EXAMPLES: Final = (
    Example(
        promise="lists the private projects that one may read",
        request=Request(operations.list_projects),
        who=CALLERS,
        answer={"projects": [{"name": "demo"}]},
        refusals=(
            Refusal(
                body={"changed-since": "yesterday"},
                code="invalid_field",
                words="changed-since must be a time with its offset",
            ),
        ),
        command=Command(
            line="list",
            prints=Words(done="demo", again="demo"),
        ),
    ),
    Example(
        promise="shows the files of a project",
        request=SHOWN,
        who=READERS,
        is_hidden=True,
        answer={
            "name": "demo",
            "revision": 3,
            "files": [
                {"filename": WHEEL.filename, "sha256": WHEEL.sha256},
                {"filename": SDIST.filename, "sha256": SDIST.sha256},
                {"filename": NEW_WHEEL.filename, "sha256": NEW_WHEEL.sha256},
            ],
        },
        refusals=(
            Refusal(
                arguments={"name": "nothing"},
                code="not_found",
                words="nothing",
                command="list nothing",
            ),
            Refusal(
                arguments={"name": "no!name"},
                code="not_found",
                words="'no!name' is not a project name",
                command="list no!name",
            ),
        ),
        command=Command(
            line="list demo",
            prints=Words(done=SDIST.filename),
        ),
    ),
    Example(
        promise="shows the commits of a project, oldest first",
        request=Request(operations.get_journal, DEMO, {"after": "1"}),
        who=READERS,
        is_hidden=True,
        answer={"name": "demo", "revision": 3, "commits": [{"number": 2}, {"number": 3}]},
        refusals=(
            Refusal(body={"after": "x"}, code="invalid_field", words="after must be a number"),
            Refusal(arguments={"name": "nothing"}, code="not_found", words="nothing"),
        ),
    ),
    Example(
        promise="marks every file of a release, with a reason",
        request=YANKED,
        who=MANAGERS,
        trial={"revision": 3, "changed": _files(yanked=False)},
        answer={"revision": 4, "changed": _files(yanked=False)},
        again={"revision": 4, "changed": []},
        after=(
            _journal("yanked"),
            (
                SHOWN,
                {
                    "files": [
                        *_files(yanked="broken"),
                        {"filename": NEW_WHEEL.filename, "yanked": False},
                    ]
                },
            ),
        ),
        refusals=_refusals("yank"),
        command=Command(
            line="yank demo 1.0 --reason broken",
            prints=Words(
                done=f"demo 1.0: yanked  {WHEEL.filename}", again="demo 1.0: already yanked"
            ),
        ),
        form=Form(
            page=MANAGE,
            fields={"action": "yank", **FIELDS},
            shows=Words(done="yanked 1.0 : broken", again="Nothing was changed"),
        ),
    ),
    Example(
        promise="marks one file of a release alone, also without a reason",
        request=Request(operations.yank, DEMO, {"version": "1", "file": SDIST.filename}),
        who=MANAGERS,
        trial={"changed": [{"filename": SDIST.filename}]},
        answer={"revision": 4, "changed": [{"filename": SDIST.filename}]},
        again={"revision": 4, "changed": []},
        after=((SHOWN, {"files": [{"yanked": False}, {"yanked": True}, {"yanked": False}]}),),
        command=Command(
            line=f"yank demo 1 --file {SDIST.filename}",
            prints=Words(done=f"demo 1.0: yanked  {SDIST.filename}"),
        ),
        form=Form(
            page=MANAGE,
            fields={"action": "yank", "version": "1.0", "file": SDIST.filename},
            shows=Words(done="yanked 1.0", again="Nothing was changed"),
        ),
    ),
    Example(
        promise="marks all releases of a set of versions in one commit",
        request=Request(operations.yank, DEMO, {"versions": "<2", "reason": "broken"}),
        who=MANAGERS,
        trial={"revision": 3, "changed": _files(yanked=False)},
        answer={"revision": 4, "changed": _files(yanked=False)},
        again={"revision": 4, "changed": []},
        refusals=_wrong_sets("yank"),
        command=Command(
            line="yank demo --versions <2 --reason broken",
            prints=Words(
                done=f"demo 1.0: yanked  {WHEEL.filename} demo 1.0: yanked  {SDIST.filename}",
                again="demo <2: already yanked",
            ),
        ),
    ),
    Example(
        promise="takes the mark back from every file of a release",
        before=(YANKED,),
        request=Request(operations.unyank, DEMO, RELEASE),
        who=MANAGERS,
        trial={"revision": 4, "changed": _files(yanked="broken")},
        answer={"revision": 5, "changed": _files(yanked="broken")},
        again={"revision": 5, "changed": []},
        after=(NOT_YANKED, _journal("unyanked", 4)),
        refusals=_refusals("unyank"),
        command=Command(
            line="unyank demo 1.0 --reason broken",
            prints=Words(
                done=f"demo 1.0: no longer yanked  {WHEEL.filename}", again="demo 1.0: not yanked"
            ),
        ),
        form=Form(
            page=MANAGE,
            fields={"action": "unyank", **FIELDS},
            shows=Words(done="unyanked 1.0", again="Nothing was changed"),
        ),
    ),
    Example(
        promise="keeps a release from rules of retention",
        request=PINNED,
        who=MANAGERS,
        trial={"revision": 3, "changed": _files()},
        answer={"revision": 4, "changed": _files()},
        again={"revision": 4, "changed": []},
        after=(_journal("pinned"),),
        refusals=_refusals("pin"),
        command=Command(
            line="pin demo 1.0 --reason broken",
            prints=Words(
                done=f"demo 1.0: pinned  {WHEEL.filename}", again="demo 1.0: already pinned"
            ),
        ),
        form=Form(
            page=MANAGE,
            fields={"action": "pin", **FIELDS},
            shows=Words(done="pinned 1.0", again="Nothing was changed"),
        ),
    ),
    Example(
        promise="lets rules of retention take a release again",
        before=(PINNED,),
        request=Request(operations.unpin, DEMO, RELEASE),
        who=MANAGERS,
        trial={"revision": 4, "changed": _files()},
        answer={"revision": 5, "changed": _files()},
        again={"revision": 5, "changed": []},
        after=(_journal("unpinned", 4),),
        refusals=_refusals("unpin"),
        command=Command(
            line="unpin demo 1.0 --reason broken",
            prints=Words(
                done=f"demo 1.0: no longer pinned  {WHEEL.filename}", again="demo 1.0: not pinned"
            ),
        ),
        form=Form(
            page=MANAGE,
            fields={"action": "unpin", **FIELDS},
            shows=Words(done="unpinned 1.0", again="Nothing was changed"),
        ),
    ),
    Example(
        promise="deletes a release, whose files are kept for some days",
        request=DELETED,
        who=MANAGERS,
        trial={"revision": 3, "changed": _files()},
        answer={"revision": 4, "changed": _files()},
        again={"revision": 4, "changed": []},
        after=(
            _journal("deleted"),
            (SHOWN, {"deleted": sorted(FILES), "files": [{"version": "2.0"}]}),
        ),
        refusals=_refusals("delete --yes"),
        command=Command(
            line="delete demo 1.0 --reason broken --yes",
            trial="delete demo 1.0 --dry-run",
            prints=Words(
                trial=WHEEL.filename,
                done=f"demo 1.0: deleted  {WHEEL.filename}",
                again="demo 1.0: already deleted",
            ),
        ),
        form=Form(
            page=MANAGE,
            fields={"action": "delete", "confirmation": "demo 1.0", **FIELDS},
            shows=Words(done="deleted 1.0"),
        ),
    ),
    Example(
        promise="deletes all releases of a set of versions in one commit",
        request=Request(operations.delete, DEMO, {"versions": "<2"}),
        who=MANAGERS,
        trial={"revision": 3, "changed": _files()},
        answer={"revision": 4, "changed": _files(), "files": [{"version": "2.0"}]},
        again={"revision": 4, "changed": []},
        refusals=_wrong_sets("delete --yes"),
        command=Command(
            line="delete demo --versions <2 --yes",
            trial="delete demo --versions <2 --dry-run --yes",
            prints=Words(
                trial=f"demo 1.0: would be deleted  {WHEEL.filename}",
                done=f"demo 1.0: deleted  {WHEEL.filename}",
                again="demo <2: already deleted",
            ),
        ),
    ),
    Example(
        promise="restores a deleted release as it was",
        before=(DELETED,),
        request=Request(operations.restore, DEMO, RELEASE),
        who=MANAGERS,
        trial={"revision": 4, "changed": _files()},
        answer={"revision": 5, "changed": _files()},
        again={"revision": 5, "changed": []},
        after=(NOT_YANKED, _journal("restored", 4)),
        refusals=_refusals("restore"),
        command=Command(
            line="restore demo 1.0 --reason broken",
            trial="restore demo 1.0 --dry-run",
            prints=Words(done=f"demo 1.0: restored  {WHEEL.filename}"),
        ),
        form=Form(
            page=MANAGE,
            fields={"action": "restore", **FIELDS},
            shows=Words(done="restored 1.0"),
        ),
    ),
    Example(
        promise="removes the bytes of a file for good",
        request=Request(
            operations.delete_now, DEMO, {"sha256": WHEEL.sha256, "reason": "a secret"}
        ),
        who=ADMINISTRATORS,
        trial=NOTHING,
        again=NOTHING,
        after=(
            (SHOWN, {"files": [{"filename": SDIST.filename}, {"version": "2.0"}]}),
            _journal("deleted", reason="a secret"),
        ),
        refusals=(
            Refusal(
                body={"sha256": "0" * 64},
                code="not_found",
                words="no file with this digest",
                command=f"delete demo sha256:{'0' * 64} --now --yes",
            ),
            Refusal(
                body={"sha256": "x"},
                code="invalid_field",
                words="'x' is no SHA-256",
                command="delete demo sha256:x --now --yes",
            ),
        ),
        command=Command(
            line=f"delete demo sha256:{WHEEL.sha256} --now --yes --reason 'a secret'",
            trial=f"delete demo sha256:{WHEEL.sha256} --now --dry-run",
            prints=Words(done=WHEEL.filename, again="demo: already removed"),
        ),
    ),
    Example(
        promise="sets the status of a project, with a reason",
        request=Request(
            operations.set_status, DEMO, {"status": "deprecated", "reason": "use demo2"}
        ),
        who=MANAGERS,
        answer={
            "revision": 4,
            "project-status": {"status": "deprecated", "reason": "use demo2"},
        },
        refusals=(
            Refusal(
                body={"status": "happy"},
                code="invalid_field",
                words="status must be one of",
            ),
            _wrong_reason("status demo deprecated"),
            Refusal(
                arguments={"name": "nothing"},
                code="not_found",
                words="nothing",
                command="status nothing deprecated",
            ),
        ),
        command=Command(
            line="status demo deprecated --reason 'use demo2'",
            prints=Words(done="demo: deprecated"),
        ),
        form=Form(
            page=MANAGE,
            fields={"action": "status", "status": "deprecated", "reason": "use demo2"},
            shows=Words(done="set the status to deprecated : use demo2"),
        ),
    ),
    Example(
        promise="makes a name private before anything is published under it",
        request=RESERVED,
        who=ADMINISTRATORS,
        answer={"name": "demo-next", "is_new": True},
        again={"name": "demo-next", "is_new": False},
        after=(
            (Request(operations.list_names), {"names": [{"name": "demo"}, {"name": "demo-next"}]}),
            _entries_of_name({"what": "reserved", "reason": "soon"}),
        ),
        refusals=(
            Refusal(
                arguments={"name": "simple"},
                code="invalid_name",
                words="No project can be named 'simple': it is a path of the index",
                command="names reserve simple",
                fields={"name": "simple"},
            ),
            _wrong_reason("names reserve demo-next"),
        ),
        command=Command(
            line="names reserve demo-next --reason soon",
            prints=Words(done="demo-next: reserved", again="demo-next: private already"),
        ),
        form=Form(
            page=NAMES,
            fields={"action": "reserve", "name": "demo-next", "reason": "soon"},
            shows=Words(done="demo-next is reserved", again="demo-next was private already"),
        ),
    ),
    Example(
        promise="gives up a private name that has no files",
        before=(RESERVED,),
        request=Request(operations.release_name, {"name": "demo-next"}, {"reason": "not used"}),
        who=ADMINISTRATORS,
        again=Refusal(code="not_found", words="demo-next"),
        after=(
            (Request(operations.list_names), {"names": [{"name": "demo"}]}),
            _entries_of_name(
                {"what": "released", "reason": "not used"}, {"what": "reserved", "reason": "soon"}
            ),
        ),
        refusals=(
            Refusal(
                arguments=DEMO,
                code="conflict",
                words="'demo' has files",
                command="names release demo --yes",
                fields={"name": "demo"},
            ),
            Refusal(
                arguments={"name": "nothing"},
                code="not_found",
                words="'nothing' is not in the list of private names",
                command="names release nothing --yes",
                fields={"name": "nothing"},
            ),
            _wrong_reason("names release demo-next --yes"),
        ),
        command=Command(
            line="names release demo-next --yes --reason 'not used'",
            prints=Words(done="demo-next: released"),
        ),
        form=Form(
            page=NAMES,
            fields={"action": "release", "name": "demo-next", "reason": "not used"},
            shows=Words(done="demo-next is released"),
        ),
    ),
    Example(
        promise="lists the private names and why they are private",
        before=(RESERVED,),
        request=Request(operations.list_names),
        who=ADMINISTRATORS,
        answer={
            "names": [
                {"name": "demo", "state": "files"},
                {"name": "demo-next", "state": "reserved", "reason": "soon"},
            ]
        },
        refusals=(
            Refusal(body={"state": "odd"}, code="invalid_field", words="state must be one of"),
        ),
        command=Command(
            line="names list",
            prints=Words(done="demo\t3 files demo-next\treserved\t"),
        ),
    ),
    Example(
        promise="lists which projects have changed since a change",
        request=Request(operations.list_changes),
        who=ADMINISTRATORS,
        answer={"more": False},
        refusals=(
            Refusal(body={"since": "7"}, code="unknown_serial", words="7"),
            Refusal(body={"since": "x"}, code="invalid_field", words="since must be a number"),
        ),
    ),
)
"""One of each operation, in the order of the table."""
