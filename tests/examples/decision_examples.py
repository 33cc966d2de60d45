"""Examples of decisions on public packages, and of what says why a package is served."""

from typing import Final

from tests.examples.example import (
    APPROVERS,
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
from wheelyard.api import package_request_operations, public_package_operations, why_operations

PUBLIC: Final = {"project": "demo-public", "version": "2.0", "reason": "broken"}
DIGEST: Final = "0" * 64
BLOCKED: Final = Request(public_package_operations.block, NOTHING, PUBLIC)
LIST: Final = Request(public_package_operations.list_decisions)
NO_VERSION: Final = "'not-a-version' is not a version"


def _decided(verdict: str, **fields: object) -> Json:
    """Return the list with a decision on the package."""
    return {"decisions": [{"verdict": verdict, "project": "demo-public", **fields}]}


EXAMPLES: Final = (
    Example(
        promise="says which files of a project are served, and why not the others",
        request=Request(why_operations.explain_project, NOTHING, {"project": "demo"}),
        who=READERS,
        is_hidden=True,
        answer={"name": "demo", "answer": "private"},
        refusals=(
            Refusal(
                body={"project": "nothing"},
                code="not_found",
                words="nothing",
                command="upstream why nothing",
            ),
        ),
        command=Command(line="upstream why demo", prints=Words(done="demo: private")),
    ),
    Example(
        promise="lists the packages that people have requested",
        request=Request(package_request_operations.list_requests),
        who=APPROVERS,
        answer={"requests": []},
        command=Command(
            line="upstream requests", prints=Words(done="nothing waits for a decision")
        ),
    ),
    Example(
        promise="lists the decisions in force",
        before=(BLOCKED,),
        request=LIST,
        who=APPROVERS,
        answer=_decided("blocked", version="2.0"),
        command=Command(
            line="upstream decisions", prints=Words(done="blocked demo-public 2.0 (broken)")
        ),
    ),
    Example(
        promise="shows all decisions in order",
        before=(BLOCKED,),
        request=Request(public_package_operations.decision_history),
        who=APPROVERS,
        answer={"commits": [{"number": 1, "event": {"project": "demo-public"}}]},
        refusals=(
            Refusal(body={"after": "x"}, code="invalid_field", words="after must be a number"),
        ),
        command=Command(
            line="upstream decisions --history",
            prints=Words(done="blocked demo-public 2.0 (broken)"),
        ),
    ),
    Example(
        promise="blocks a version of a public package",
        request=BLOCKED,
        who=APPROVERS,
        answer=_decided("blocked", reason="broken"),
        does_again=True,
        after=((LIST, _decided("blocked", version="2.0", reason="broken")),),
        refusals=(
            Refusal(
                body={"version": "not-a-version"},
                code="invalid_version",
                words=NO_VERSION,
                command="upstream block demo-public not-a-version",
            ),
            Refusal(
                body={"project": "demo"},
                code="private_name",
                words="'demo' is private here, and decisions are about public packages",
                command="upstream block demo",
            ),
            Refusal(
                body={"reason": "two\nlines"},
                code="invalid_field",
                words="A reason has the character",
            ),
        ),
        command=Command(
            line="upstream block demo-public 2.0 --reason broken",
            prints=Words(done="demo-public 2.0: blocked"),
        ),
    ),
    Example(
        promise="approves the files of a version that have these digests",
        before=(BLOCKED,),
        request=Request(public_package_operations.approve, NOTHING, {**PUBLIC, "sha256": [DIGEST]}),
        who=APPROVERS,
        answer=_decided("approved"),
        does_again=True,
        after=((LIST, _decided("approved", version="2.0", reason="broken", sha256=[DIGEST])),),
        refusals=(
            Refusal(
                body={"version": "not-a-version"},
                code="invalid_version",
                words=NO_VERSION,
                command="upstream approve demo-public not-a-version",
            ),
            Refusal(
                body={"sha256": []},
                code="no_upstream",
                words="cannot be approved here",
                command="upstream approve demo-public 2.0",
            ),
            Refusal(
                body={"despite": ["fly"]},
                code="invalid_field",
                words="'fly' is no rule that an approval lifts",
                command="upstream approve demo-public --despite fly",
            ),
            Refusal(
                body={"version": "", "sha256": [], "despite": ["malicious"]},
                code="invalid_field",
                words="The rule malicious is lifted for one version only",
                command="upstream approve demo-public --despite malicious",
            ),
            Refusal(
                body={"reason": "two\nlines"},
                code="invalid_field",
                words="A reason has the character",
            ),
        ),
        command=Command(
            line=f"upstream approve demo-public 2.0 --sha256 {DIGEST} --reason broken",
            prints=Words(done="demo-public 2.0: approved"),
        ),
    ),
    Example(
        promise="decides on several packages at once",
        request=Request(
            public_package_operations.decide,
            NOTHING,
            {
                "verdict": "blocked",
                "packages": [{"project": "demo-public"}],
                "reason": "broken",
            },
        ),
        who=APPROVERS,
        trial={"decided": [{"project": "demo-public"}], "unchanged": []},
        answer={"decided": [{"project": "demo-public"}], "unchanged": []},
        again={"decided": [], "unchanged": [{"project": "demo-public"}]},
        after=((LIST, _decided("blocked", reason="broken")),),
        refusals=(
            Refusal(body={"verdict": "odd"}, code="invalid_field", words="verdict must be one of"),
            Refusal(
                body={"reason": "two\nlines"},
                code="invalid_field",
                words="A reason has the character",
            ),
        ),
        form=Form(
            page="/-/admin/requests/",
            fields={
                "decide": "block",
                "package": "demo-public",
                "reason": "broken",
                "as_of": "2100-01-01T00:00:00Z",
            },
            shows=Words(done="1 package blocked", again="demo-public was blocked before"),
        ),
    ),
)
