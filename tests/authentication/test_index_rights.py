"""Rights in several indexes: what holds where, of grants, tokens and passwords."""

from pathlib import Path
from typing import Any, Final

import pytest
from packaging.utils import NormalizedName

from tests.operations.in_memory_index import IndexHarness
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.access import Action, Caller, Identity
from wheelyard.model.grants import GrantFields
from wheelyard.settings.sections import Settings
from wheelyard.wiring.index import Index

INDEXES: Final = ({"name": "dev"}, {"name": "prod"})
CORE: Final = NormalizedName("core")


def _index(folder: Path, *grants: dict[str, Any]) -> Index:
    return IndexHarness(folder).opened(1, settings=Settings(index=INDEXES, grant=grants))


def _grant(who: str, index: str = "") -> dict[str, Any]:
    return {"who": [who], "projects": ["*"], "actions": ["upload"], "index": index}


def _where(index: Index, principal: str) -> set[str]:
    """Return the names of the indexes that a person may upload to."""
    identity = Identity(principal, frozenset({principal, "anonymous"}))
    callers = {
        name: index.named(name).authenticator.policy.authorize(identity)
        for name in ("", "dev", "prod")
    }
    return {name for name, caller in callers.items() if caller.may(Action.UPLOAD, CORE)}


def _token_holds(index: Index, wanted: str) -> set[str]:
    request = TokenRequest(name="ci", index=wanted)
    _, record = index.tokens.create(request, "local:test")
    callers: dict[str, Caller] = {
        name: index.named(name).authenticator.caller_for_token(record)
        for name in ("", "dev", "prod")
    }
    return {name for name, caller in callers.items() if caller.may(Action.UPLOAD, CORE)}


def test_a_grant_without_an_index_holds_where_nothing_else_is_granted(tmp_path: Path) -> None:
    """Who could publish before an index had grants of its own cannot publish into it."""
    index = _index(tmp_path, _grant("user:ana@acme.dev"), _grant("user:bo@acme.dev", "prod"))

    assert _where(index, "user:ana@acme.dev") == {"", "dev"}
    assert _where(index, "user:bo@acme.dev") == {"prod"}


def test_a_stored_grant_closes_an_index_at_once(tmp_path: Path) -> None:
    """A grant that a command has made for an index shuts out those that name none."""
    index = _index(tmp_path, _grant("user:ana@acme.dev"))
    before = _where(index, "user:ana@acme.dev")
    fields = GrantFields(
        who=("user:bo@acme.dev",), projects=("*",), actions=("upload",), index="prod"
    )
    index.access.grant(fields, "local:test")

    assert before == {"", "dev", "prod"}
    assert _where(index, "user:ana@acme.dev") == {"", "dev"}
    assert _where(index, "user:bo@acme.dev") == {"prod"}


def test_an_old_token_cannot_publish_into_a_closed_index(tmp_path: Path) -> None:
    """A token that names no index holds like a grant that names none."""
    closed = _index(tmp_path, _grant("user:bo@acme.dev", "prod"))

    assert _token_holds(closed, "") == {"", "dev"}
    assert _token_holds(closed, "prod") == {"prod"}
    assert _token_holds(closed, "dev") == {"dev"}
    assert _token_holds(closed, "prod,dev") == {"dev", "prod"}


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
