"""Examples of the operations on API tokens."""

from typing import Final

from tests.examples.example import (
    ADMINISTRATORS,
    CALLERS,
    NOTHING,
    UPLOADERS,
    Command,
    Example,
    Form,
    Refusal,
    Request,
    Words,
)
from wheelyard.api import access_operations as operations

TOKEN: Final = {"name": "ci", "projects": ["demo"], "days": 3}
MADE: Final = Request(operations.create_token, NOTHING, TOKEN)
OWNED: Final = Request(operations.create_token, NOTHING, {**TOKEN, "owner": "htpasswd:admin"})
LIST: Final = Request(operations.list_tokens)
PAGE: Final = "/-/admin/tokens/"
UNKNOWN: Final = "0123456789"

EXAMPLES: Final = (
    Example(
        promise="lists the tokens that the caller may see, without secrets",
        before=(MADE,),
        request=LIST,
        who=CALLERS,
        answer={"tokens": [{"id": "{id}", "name": "ci", "can": ["read", "upload"]}]},
        refusals=(Refusal(body={"state": "odd"}, code="invalid_field", words="state must be"),),
        command=Command(line="token list", prints=Words(done="{id}\tci\tread,upload on demo")),
    ),
    Example(
        promise="makes a token, and shows it once",
        request=MADE,
        who=UPLOADERS,
        answer={"name": "ci", "projects": ["demo"], "can": ["read", "upload"]},
        does_again=True,
        after=((LIST, {"tokens": [{"name": "ci", "state": "active"}]}),),
        refusals=(
            Refusal(
                body={"projects": []},
                code="invalid_field",
                words="projects must be a list",
            ),
            Refusal(
                body={"days": 0},
                code="invalid_field",
                words="days must be a number from 1",
            ),
            Refusal(
                body={"expires": "2096-01-01T00:00:00Z"},
                code="invalid_field",
                words="days or expires, and not both",
            ),
            Refusal(
                body={"name": ""},
                code="invalid_field",
                words="A token needs a name",
                command="token create '' --project demo",
                fields={"name": ""},
            ),
            Refusal(
                body={"projects": ["a*b"]},
                code="invalid_field",
                words="'a*b' is not a project pattern",
                command="token create ci --project a*b",
                fields={"projects": "a*b"},
            ),
            Refusal(
                body={"can": ["fly"]},
                code="invalid_field",
                words="'fly' is not an action",
                command="token create ci --can fly",
                fields={"can": "fly"},
            ),
        ),
        command=Command(
            line="token create ci --project demo --expires 3d", prints=Words(done="wyd_")
        ),
        form=Form(
            page=PAGE,
            fields={
                "action": "create",
                "name": "ci",
                "can": "upload",
                "projects": "demo",
                "days": "3",
                "index": "main",
            },
            shows=Words(done="wyd_"),
        ),
    ),
    Example(
        promise="makes a token that takes the place of another one",
        before=(OWNED,),
        request=Request(operations.rotate_token, NOTHING, {"token": "{id}", "hours": 1}),
        who=ADMINISTRATORS,
        is_hidden=True,
        answer={"name": "ci", "replaces": {"id": "{id}"}},
        again=Refusal(code="conflict", words="{id}"),
        refusals=(
            Refusal(
                body={"token": UNKNOWN},
                code="not_found",
                words=UNKNOWN,
                command=f"token rotate {UNKNOWN}",
                fields={"token": UNKNOWN},
            ),
        ),
        command=Command(line="token rotate {id} --overlap 1h", prints=Words(done="wyd_")),
        form=Form(
            page="/-/account/tokens/",
            fields={"action": "rotate", "token": "{id}", "hours": "1"},
            shows=Words(done="wyd_"),
        ),
    ),
    Example(
        promise="lets a token be used in other indexes",
        before=(MADE,),
        request=Request(operations.change_token, NOTHING, {"token": "{id}", "index": "main,dev"}),
        who=ADMINISTRATORS,
        answer={"id": "{id}", "index": "dev,main"},
        after=((LIST, {"tokens": [{"index": "dev,main"}]}),),
        refusals=(
            Refusal(
                body={"token": UNKNOWN},
                code="not_found",
                words=UNKNOWN,
                command=f"token change {UNKNOWN} --index main",
            ),
            Refusal(
                body={"index": "nope"},
                code="unknown_index",
                words="There is no index 'nope'",
                command="token change {id} --index nope",
            ),
            Refusal(
                body={"index": ""},
                code="invalid_field",
                words="Name the indexes of the token.",
            ),
        ),
        command=Command(
            line="token change {id} --index main,dev",
            prints=Words(done="read,upload on demo in the indexes dev and main"),
        ),
    ),
    Example(
        promise="revokes a token",
        before=(MADE,),
        request=Request(operations.revoke_token, {"id": "{id}"}),
        who=ADMINISTRATORS,
        is_hidden=True,
        after=((LIST, {"tokens": [{"state": "revoked"}]}),),
        refusals=(
            Refusal(
                arguments={"id": UNKNOWN},
                code="not_found",
                words=f"There is no token with the id '{UNKNOWN}'",
                command=f"token revoke {UNKNOWN}",
                fields={"id": UNKNOWN},
            ),
        ),
        command=Command(line="token revoke {id}", prints=Words(done="{id}: revoked")),
        form=Form(
            page=PAGE,
            fields={"action": "revoke", "id": "{id}"},
            shows=Words(done="The token is revoked"),
        ),
    ),
)
