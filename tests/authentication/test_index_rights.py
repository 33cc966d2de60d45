"""Rights in several indexes: what holds where, of grants, tokens and passwords."""

from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.advice import texts_of
from tests.operations.in_memory_index import ALICE, IndexHarness
from wheelyard.api.access_operations import (
    AccessQuestion,
    GrantRevocation,
    TokensQuery,
    explain_access,
    list_tokens,
    revoke_grant,
)
from wheelyard.api.table import LocalApi
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.rights import AccessExplanation
from wheelyard.model.access import Action, Caller, Identity
from wheelyard.model.api_token import TokenOwner, TokenRecord
from wheelyard.model.grants import GrantFields, Grants, parse_grant
from wheelyard.settings.sections import (
    AccessSettings,
    GoogleSettings,
    IdTokenSettings,
    Settings,
    StoreSettings,
)
from wheelyard.settings.validation import stored_grant_warnings
from wheelyard.wiring.index import Index

INDEXES: Final = ({"name": "dev"}, {"name": "prod"})
CORE: Final = NormalizedName("core")
GOOGLE: Final = GoogleSettings(id_token=IdTokenSettings(audience=("https://index",)))
EVERYBODY: Final = {"who": ["anonymous"], "projects": ["*"], "actions": ["read"]}


def _index(folder: Path, *grants: dict[str, Any]) -> Index:
    settings = Settings(index=INDEXES, grant=grants, google=GOOGLE)
    return IndexHarness(folder).opened(1, settings=settings)


def _grant(who: str, index: str = "") -> dict[str, Any]:
    return {"who": [who], "projects": ["*"], "actions": ["upload"], "index": index}


def _fields(index: str, who: str = "user:bo@acme.dev", action: str = "read") -> GrantFields:
    return GrantFields(who=(who,), projects=("*",), actions=(action,), index=index)


def _where(index: Index, principal: str) -> set[str]:
    """Return the names of the indexes that a person may upload to."""
    identity = Identity(principal, frozenset({principal, "anonymous"}))
    callers = {
        name: index.named(name).authenticator.policy.authorize(identity)
        for name in ("", "dev", "prod")
    }
    return {name for name, caller in callers.items() if caller.may(Action.UPLOAD, CORE)}


def _open_to_all(index: Index) -> set[str]:
    """Return the names of the indexes that anybody may read, by their policy and by explain."""
    names = ("", "dev", "prod")
    answers = {name: _explained(index, name) for name in names}
    explained = {name for name, answer in answers.items() if answer.allowed}
    assert {name for name in names if index.named(name).read_policy.is_public(CORE)} == explained
    return explained


def _explained(index: Index, name: str, who: str = "anonymous") -> AccessExplanation:
    question = AccessQuestion(who, CORE, "read", name)
    return LocalApi(index=index, caller=ALICE).call(explain_access, question)


def _token_holds(index: Index, wanted: str) -> set[str]:
    request = TokenRequest(name="ci", index=wanted)
    _, record = index.tokens.create(request, "local:test")
    return _token_may(index, record, Action.UPLOAD)


def _token_reads(index: Index) -> set[str]:
    _, record = index.tokens.create(TokenRequest(name="old", projects=()), "local:test")
    return _token_may(index, record, Action.READ)


def _token_may(index: Index, record: TokenRecord, action: Action) -> set[str]:
    callers: dict[str, Caller] = {
        name: index.named(name).authenticator.caller_for_token(record)
        for name in ("", "dev", "prod")
    }
    return {name for name, caller in callers.items() if caller.may(action, CORE)}


def test_a_grant_without_an_index_holds_where_nothing_else_is_granted(tmp_path: Path) -> None:
    """Who could publish before an index had grants of its own cannot publish into it."""
    index = _index(tmp_path, _grant("user:ana@acme.dev"), _grant("user:bo@acme.dev", "prod"))

    assert _where(index, "user:ana@acme.dev") == {"", "dev"}
    assert _where(index, "user:bo@acme.dev") == {"prod"}


def test_a_stored_grant_closes_an_index_at_once(tmp_path: Path) -> None:
    """A grant that a command has made for an index shuts out those that name none."""
    index = _index(tmp_path, _grant("user:ana@acme.dev"))
    before = _where(index, "user:ana@acme.dev")
    fields = _fields("prod", action="upload")
    index.access.grant(fields, "local:test")

    assert before == {"", "dev", "prod"}
    assert _where(index, "user:ana@acme.dev") == {"", "dev"}
    assert _where(index, "user:bo@acme.dev") == {"prod"}


@pytest.mark.parametrize("grants", [(), (EVERYBODY,)])
def test_a_stored_grant_closes_an_index_that_anybody_may_read(
    tmp_path: Path, grants: tuple[dict[str, Any], ...]
) -> None:
    """Who sends no credential reads no index with grants of its own, and reads it again after."""
    index = _index(tmp_path, *grants)
    before = _open_to_all(index)
    fields = _fields("prod")
    made = index.access.grant(fields, "local:test")
    closed, token = _open_to_all(index), _token_reads(index)
    hints = _explained(index, "prod").hints
    index.access.revoke(made, "local:test")

    assert before == {"", "dev", "prod"}
    assert closed == token == {"", "dev"}
    assert any(
        hint.endswith("but names no index, and prod has grants of its own") for hint in hints
    )
    assert _open_to_all(index) == before


def test_a_grant_to_everybody_can_name_an_index(tmp_path: Path) -> None:
    """Anybody reads an index with grants of its own if the settings grant that for this index."""
    index = _index(tmp_path, _grant("user:bo@acme.dev", "prod"), {**EVERYBODY, "index": "prod"})

    assert _open_to_all(index) == {"prod"}


def test_an_old_token_cannot_publish_into_a_closed_index(tmp_path: Path) -> None:
    """A token that names no index holds like a grant that names none."""
    closed = _index(tmp_path, _grant("user:bo@acme.dev", "prod"))

    assert _token_holds(closed, "") == {"", "dev"}
    assert _token_holds(closed, "prod") == {"prod"}
    assert _token_holds(closed, "dev") == {"dev"}
    assert _token_holds(closed, "prod,dev") == {"dev", "prod"}


def test_it_is_said_why_a_token_does_not_hold(tmp_path: Path) -> None:
    """Who asks about a token that names no index, or another one, hears that, as for a grant."""
    index = _index(tmp_path, _grant("user:bo@acme.dev", "prod"))
    _, old = index.tokens.create(TokenRequest(name="ci"), "local:test")
    _, other = index.tokens.create(TokenRequest(name="dev", index="dev"), "local:test")
    answers = [_explained(index, "prod", f"token:{record.id}") for record in (old, other)]

    assert not any(answer.allowed for answer in answers)
    words = [hint.partition(", ")[2] for answer in answers for hint in answer.hints]
    assert [text for text in words if "index" in text] == [
        "but names no index, and prod has grants of its own",
        "which is another index",
    ]


def test_the_owner_of_a_token_may_have_a_grant_in_any_index(tmp_path: Path) -> None:
    """Whose only grant names an index is not gone, and neither is the owner of their tokens."""
    index = _index(tmp_path, _grant("user:bo@acme.dev", "prod"), _grant("user:cy@acme.dev"))
    for who in ("user:ana@acme.dev", "user:bo@acme.dev", "user:cy@acme.dev"):
        owner = TokenOwner(who, frozenset({who}))
        index.tokens.create(TokenRequest(name=who, owner=owner), "local:test")

    tokens = LocalApi(index=index, caller=ALICE).call(list_tokens, TokensQuery()).tokens

    gone = {token.name for token in tokens if "owner-gone" in token.marks}
    assert gone == {"user:ana@acme.dev"}


def test_an_older_version_gives_a_token_of_an_index_no_rights(tmp_path: Path) -> None:
    """What a version reads that knows one index only is a token that may do nothing."""
    index = _index(tmp_path)
    _, record = index.tokens.create(TokenRequest(name="ci", index="prod"), "local:test")

    assert (record.actions, record.projects) == (0, ())


def test_a_rotated_token_is_for_the_same_index(tmp_path: Path) -> None:
    """A new token for an old one has its index, too."""
    index = _index(tmp_path)
    _, record = index.tokens.create(TokenRequest(name="ci", index="prod"), "local:test")

    rotated = index.tokens.rotate(record, record.lifetime, "local:test")

    assert rotated.new.scope == record.scope
    assert rotated.new.scope.index == "prod"


@pytest.mark.parametrize("name", ["", "dev"])
def test_passwords_may_publish_while_nothing_is_granted(tmp_path: Path, name: str) -> None:
    """Without any grant a password may upload, in each index."""
    assert name in _where(_index(tmp_path), "htpasswd:ana")


def test_uploads_without_a_credential_are_for_the_index_without_a_name(tmp_path: Path) -> None:
    """A server that takes anonymous uploads takes none for an index with a name."""
    access = Settings().access
    settings = Settings(index=INDEXES, access=type(access)(anonymous_uploads=True))
    index = IndexHarness(tmp_path).opened(1, settings=settings)

    assert _where(index, "anonymous") == {""}


def _revoke(index: Index, grant_id: str) -> list[str]:
    api = LocalApi(index=index, caller=ALICE)
    return texts_of(api.call(revoke_grant, GrantRevocation(grant_id)).warnings)


def test_who_revokes_the_last_grant_for_an_index_is_told_that_it_opens(tmp_path: Path) -> None:
    """Without the last grant that names an index, those that name none hold in it: that is said."""
    index = _index(tmp_path)
    grants = [_fields("dev,prod", who) for who in ("user:bo@acme.dev", "user:cy@acme.dev")]
    first, last = [index.add_grant(fields, "local:test").id for fields in grants]
    unnamed = index.add_grant(replace(grants[0], index=""), "local:test").id

    assert _revoke(index, first) == _revoke(index, unnamed) == []
    warnings = _revoke(index, last)

    assert [text.partition(":")[0] for text in warnings] == [
        f"Without grant {last}, the index {name} has no grants of its own"
        for name in ("dev", "prod")
    ]


VIEW: Final = {"name": "view", "layers": ["prod"]}


@pytest.mark.parametrize(
    ("action", "is_warned_of"),
    [("read", False), ("upload", True), ("manage", True), ("admin", False)],
)
def test_a_right_to_upload_to_a_view_is_warned_of(
    tmp_path: Path, action: str, *, is_warned_of: bool
) -> None:
    """Who grants uploads to an index without packages of its own hears that it takes none."""
    access = AccessSettings(private=True)
    settings = Settings(index=(*INDEXES, VIEW), access=access, google=GOOGLE)
    index = IndexHarness(tmp_path).opened(1, settings=settings)
    fields = _fields("dev,view", action=action)

    warnings = texts_of(index.add_grant(fields, "local:test").warnings)

    said = [text.startswith("the index view has no packages of its own") for text in warnings]
    assert said == [True] * is_warned_of


def test_who_closes_an_index_hears_which_one_shows_it(tmp_path: Path) -> None:
    """A first grant for an index is answered with the indexes that show its packages to others."""
    access = AccessSettings(private=True)
    settings = Settings(index=(*INDEXES, VIEW), access=access, google=GOOGLE)
    index = IndexHarness(tmp_path).opened(1, settings=settings)
    fields = _fields("prod")

    (warning,) = texts_of(index.add_grant(fields, "local:test").warnings)

    assert warning.startswith("The index view shows packages of prod, whose grants do not hold")
    assert index.add_grant(replace(fields, note="again"), "local:test").warnings == ()


CLOSES: Final = "the index prod has grants of its own now, so that nobody reads it without"
STAYS_OPEN: Final = "anybody may read every project of the index prod all the same, by grant 1"


@pytest.mark.parametrize(
    ("grants", "index", "words"),
    [
        ((), "prod", [CLOSES]),
        ((EVERYBODY,), "prod", [CLOSES]),
        (({**EVERYBODY, "projects": ["open-*"]},), "prod", [CLOSES]),
        (({**EVERYBODY, "index": "prod"},), "prod", [STAYS_OPEN]),
        ((EVERYBODY, _grant("user:bo@acme.dev", "prod")), "prod", []),
        ((_grant("user:bo@acme.dev"),), "prod", []),
        ((EVERYBODY,), "", ["anybody may read every project all the same, by grant 1 of the sett"]),
        ((), "", ["anybody may read every project all the same, because the settings say so"]),
    ],
)
def test_who_grants_a_right_is_told_what_becomes_of_that_of_everybody(
    tmp_path: Path, grants: tuple[dict[str, Any], ...], index: str, words: list[str]
) -> None:
    """A grant is answered with what anybody may do all the same, or does not any more by it."""
    fields = _fields(index, "user:cy@acme.dev")
    server = _index(tmp_path, *grants)

    warnings = texts_of(server.add_grant(fields, "local:test").warnings)

    assert [text[: len(word)] for text, word in zip(warnings, words, strict=True)] == words
    again = texts_of(server.add_grant(replace(fields, note="again"), "local:test").warnings)
    assert again == ([] if words == [CLOSES] else warnings)


def test_a_public_bucket_closes_no_index() -> None:
    """Who grants a right in an index is told that its files are public, if the bucket is."""
    settings = Settings(
        store=StoreSettings(downloads="public"), access=AccessSettings(private=True)
    )
    grants = [parse_grant(1, _grant("user:bo@acme.dev", index)) for index in ("", "prod")]

    warnings = [texts_of(stored_grant_warnings(settings, grant, Grants())) for grant in grants]

    assert [len(texts) for texts in warnings] == [0, 1]
    assert "gets it from the public bucket" in warnings[1][0]
