"""Rights in several indexes: what holds where, of grants, tokens and passwords."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.advice import texts_of
from tests.index_tables import put_tables, toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN, IndexHarness
from wheelyard.api.access_operations import (
    AccessQuestion,
    TokensQuery,
    explain_access,
    list_tokens,
)
from wheelyard.api.local_api import LocalApi
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.rights import AccessExplanation
from wheelyard.errors import Conflict, Forbidden, Invalid
from wheelyard.model.access import Action, Caller, Identity, parse_right_indexes
from wheelyard.model.api_token import ID_LENGTH, TokenOwner, TokenRecord
from wheelyard.model.grants import NO_GROUPS, Granted, GrantFields, Grants, build_grant
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.model.stored_indexes import IndexMade
from wheelyard.settings.sections import (
    AccessSettings,
    GoogleSettings,
    IdTokenSettings,
    Settings,
    StoreSettings,
)
from wheelyard.settings.validation import stored_grant_warnings
from wheelyard.wiring.index import Index
from wheelyard.wiring.warnings import rights_without_index

INDEXES: Final = ({"name": "dev"}, {"name": "prod"})
TABLES: Final = toml_of(main=OPEN_MAIN, index=INDEXES)
CORE: Final = NormalizedName("core")
GOOGLE: Final = GoogleSettings(id_token=IdTokenSettings(audience=("https://index",)))
EVERYBODY: Final = {"who": ["anonymous"], "projects": ["*"], "actions": ["read"]}


def _index(folder: Path, *grants: dict[str, Any]) -> Index:
    return _with_grants(folder, Settings(google=GOOGLE), grants)


def _with_grants(
    folder: Path, settings: Settings, grants: Sequence[dict[str, Any]], tables: str = TABLES
) -> Index:
    index = IndexHarness(folder).opened(1, settings=settings, tables=tables)
    put_tables(index, toml_of(grant=grants))
    return index


def _grant(who: str, index: str = "") -> dict[str, Any]:
    return {"who": [who], "projects": ["*"], "actions": ["upload"], "index": index}


def _fields(index: str, who: str = "user:bo@acme.dev", action: str = "read") -> GrantFields:
    return GrantFields(who=(who,), projects=("*",), actions=(action,), index=index)


def _where(index: Index, principal: str) -> set[str]:
    """Return the names of the indexes that a person may upload to."""
    identity = Identity(principal, frozenset({principal, "anonymous"}))
    callers = {
        name: index.named(name).authenticator.policy.authorize(identity)
        for name in (MAIN, "dev", "prod")
    }
    return {name for name, caller in callers.items() if caller.may(Action.UPLOAD, CORE)}


def _open_to_all(index: Index) -> set[str]:
    """Return the names of the indexes that anybody may read, by their policy and by explain."""
    names = (MAIN, "dev", "prod")
    answers = {name: _explained(index, name) for name in names}
    explained = {name for name, answer in answers.items() if answer.allowed}
    assert {name for name in names if index.named(name).read_policy.is_public(CORE)} == explained
    return explained


def _explained(index: Index, name: str, who: str = "anonymous") -> AccessExplanation:
    question = AccessQuestion(who, CORE, "read", name)
    return LocalApi(index=index, caller=ALICE).call(explain_access, question)


def _token_holds(index: Index, wanted: str) -> set[str]:
    indexes = parse_right_indexes(wanted, Action.UPLOAD)
    request = TokenRequest(name="ci", indexes=indexes)
    _, record = index.tokens.create(request, "local:test")
    return _token_may(index, record, Action.UPLOAD)


def _token_may(index: Index, record: TokenRecord, action: Action) -> set[str]:
    callers: dict[str, Caller] = {
        name: index.named(name).authenticator.caller_for_token(record)
        for name in (MAIN, "dev", "prod")
    }
    return {name for name, caller in callers.items() if caller.may(action, CORE)}


def test_a_right_without_an_index_is_about_main(tmp_path: Path) -> None:
    """Who has a grant that names no index may publish to main, whatever others are granted."""
    index = _index(tmp_path, _grant("user:ana@acme.dev"), _grant("user:bo@acme.dev", "prod"))

    assert _where(index, "user:ana@acme.dev") == {MAIN}
    assert _where(index, "user:bo@acme.dev") == {"prod"}


@pytest.mark.parametrize(
    ("named", "held"),
    [
        ("main", {MAIN}),
        ("dev", {"dev"}),
        ("dev,main", {MAIN, "dev"}),
        ("*", {MAIN, "dev", "prod"}),
        ("dev,*", {MAIN, "dev", "prod"}),
    ],
)
def test_a_right_holds_in_the_indexes_that_it_names(
    tmp_path: Path, named: str, held: set[str]
) -> None:
    """A grant and a token hold in the indexes that they name, and a star names all."""
    index = _index(tmp_path)
    index.server.access.grant(_fields(named, action="upload"), "local:test")

    assert _where(index, "user:bo@acme.dev") == held
    assert _token_holds(index, named) == held


def test_a_right_to_administer_is_about_the_server(tmp_path: Path) -> None:
    """A right to administer that names no index is about all indexes and the server."""
    index = _index(tmp_path)
    for who, named in (("user:ana@acme.dev", ""), ("user:bo@acme.dev", "main")):
        index.server.access.grant(_fields(named, who, "admin"), "local:test")
    callers = {
        who: index.authenticator.policy.authorize(Identity(who, frozenset({who})))
        for who in ("user:ana@acme.dev", "user:bo@acme.dev")
    }

    assert _where(index, "user:ana@acme.dev") == {MAIN, "dev", "prod"}
    assert _where(index, "user:bo@acme.dev") == {MAIN}
    assert [caller.administers_server for caller in callers.values()] == [True, False]


def test_nobody_reads_an_index_by_what_others_lose(tmp_path: Path) -> None:
    """Making and revoking grants opens an index to nobody else and closes it to nobody else."""
    index = _index(tmp_path)
    before = _open_to_all(index)
    grant_id = index.server.access.grant(_fields("prod"), "local:test")
    during = _open_to_all(index)
    index.server.access.revoke(grant_id, "local:test")

    assert before == during == _open_to_all(index) == {MAIN}


@pytest.mark.parametrize(
    ("access", "main", "prod", "open_indexes"),
    [
        (AccessSettings(), "", "anyone", {MAIN, "prod"}),
        (AccessSettings(), "", "granted", {MAIN}),
        (AccessSettings(), "granted", "anyone", {"prod"}),
        (AccessSettings(), "anyone", None, {MAIN}),
        (AccessSettings(private=True), "", "anyone", set()),
        (AccessSettings(private=True), "anyone", "anyone", set()),
    ],
)
def test_whether_anybody_may_read_is_a_key_of_the_index(
    tmp_path: Path,
    access: AccessSettings,
    main: Literal["", "anyone", "granted"],
    prod: str | None,
    open_indexes: set[str],
) -> None:
    """An index is open if its key says so, main by default, none where access.private is set."""
    keys = {"name": "prod"} if prod is None else {"name": "prod", "read": prod}
    settings = Settings(access=access, google=GOOGLE)
    tables = toml_of(main={"read": main} if main else {}, index=({"name": "dev"}, keys))
    index = IndexHarness(tmp_path).opened(1, settings=settings, tables=tables)

    assert _open_to_all(index) == open_indexes


def test_a_grant_to_everybody_can_name_an_index(tmp_path: Path) -> None:
    """A grant to everybody opens the index that it names, unless access.private is set."""
    access = AccessSettings(private=False)
    grants = ({**EVERYBODY, "index": "prod"},)
    settings = Settings(access=access, google=GOOGLE)
    closed = replace(settings, access=AccessSettings(private=True))
    tables = toml_of(main={"read": "granted"}, index=INDEXES)

    assert _open_to_all(_with_grants(tmp_path / "open", settings, grants, tables)) == {"prod"}
    assert _open_to_all(_with_grants(tmp_path / "closed", closed, grants, tables)) == set()


def test_it_is_said_why_a_token_does_not_hold(tmp_path: Path) -> None:
    """Who asks why a token does not hold in an index hears for which index it is."""
    index = _index(tmp_path)
    _, main = index.tokens.create(TokenRequest(name="ci"), "local:test")
    _, other = index.tokens.create(TokenRequest(name="dev", indexes=("dev",)), "local:test")
    answers = [_explained(index, "prod", f"token:{record.id}") for record in (main, other)]

    assert not any(answer.allowed for answer in answers)
    hints = [hint for answer in answers for hint in answer.hints]
    assert [hint.rpartition(" in ")[2] for hint in hints] == ["the index prod", "the index prod"]
    assert "in the index main" in hints[0]
    assert "in the index dev" in hints[1]


def _with_earlier_grant(index: Index) -> Index:
    """Return an index whose store has got a grant of an earlier version, which names no index."""
    fields = _fields("", action="upload")
    earlier = Granted(at=index.server.runtime.now(), by="local:test", id="g0", grant=fields)
    index.server.access.records.change(lambda _: (earlier,))
    return index


def test_main_alone_needs_no_other_rights(tmp_path: Path) -> None:
    """In a store with main alone, no warning is about a right that names no index."""
    index = IndexHarness(tmp_path).opened(1, tables=toml_of(main=OPEN_MAIN))

    assert not list(rights_without_index(_with_earlier_grant(index)))


def test_what_names_no_index_is_counted_until_it_does(tmp_path: Path) -> None:
    """Rights of earlier versions that name no index are about main, and a warning has them."""
    index = _with_earlier_grant(_index(tmp_path))
    _, record = index.tokens.create(TokenRequest(name="ci"), "local:test")
    scope = record.scope
    index.tokens.records.create(
        replace(
            record,
            id="0" * ID_LENGTH,
            in_index=None,
            actions=int(scope.actions),
            projects=scope.projects,
        )
    )

    assert _where(index, "user:bo@acme.dev") == {MAIN}
    assert [grant.names_index for grant in index.server.access.show().grants] == [False]
    (warning,) = rights_without_index(index)
    assert warning.message.startswith("1 grant and 1 token of the store name no index")
    assert "dev and prod" in warning.message


def test_a_personal_token_that_names_no_index_is_about_main(tmp_path: Path) -> None:
    """A token that an administrator has made in an earlier version administers main alone."""
    who = "user:bo@acme.dev"
    index = _index(tmp_path, {**_grant(who, "*"), "actions": ["admin"]})
    request = TokenRequest(name="bo", owner=TokenOwner(who, frozenset({who})))
    _, made = index.tokens.create(request, "local:test")
    actions = int(Action.ADMIN | made.scope.actions)
    old = replace(made, in_index=None, actions=actions, projects=made.scope.projects)
    operators = replace(old, owner="", owner_names=())

    assert _token_may(index, old, Action.ADMIN) == {MAIN}
    assert _token_may(index, operators, Action.ADMIN) == {MAIN, "dev", "prod"}


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [("main", set()), ("dev,main", {"dev"}), ("dev", {"dev"}), ("*", {MAIN, "dev", "prod"})],
)
def test_an_index_of_an_earlier_version_takes_only_what_names_main(
    tmp_path: Path, wanted: str, holds: set[str]
) -> None:
    """Where an earlier version has made an index called main, tokens for main hold in none."""
    index = _index(tmp_path)
    event = IndexMade(at=index.server.runtime.now(), by="local:test", keys={"name": MAIN})
    index.catalog.index_records.change(lambda _: (event,))

    assert _token_holds(index, wanted) == holds


def test_the_owner_of_a_token_may_have_a_grant_in_any_index(tmp_path: Path) -> None:
    """The owner of a token who has a grant in any index is not marked as gone."""
    index = _index(tmp_path, _grant("user:bo@acme.dev", "prod"), _grant("user:cy@acme.dev"))
    for who in ("user:ana@acme.dev", "user:bo@acme.dev", "user:cy@acme.dev"):
        owner = TokenOwner(who, frozenset({who}))
        index.tokens.create(TokenRequest(name=who, owner=owner), "local:test")

    tokens = LocalApi(index=index, caller=ALICE).call(list_tokens, TokensQuery()).tokens

    gone = {token.name for token in tokens if "owner-gone" in token.marks}
    assert gone == {"user:ana@acme.dev"}


def test_a_rotated_token_is_for_the_same_index(tmp_path: Path) -> None:
    """A rotated token has the index of the token before."""
    index = _index(tmp_path)
    _, record = index.tokens.create(TokenRequest(name="ci", indexes=("prod",)), "local:test")

    rotated = index.tokens.rotate(record, record.lifetime, "local:test")

    assert rotated.new.scope == record.scope
    assert rotated.new.scope.indexes == ("prod",)


def test_a_token_is_given_other_indexes(tmp_path: Path) -> None:
    """A token of an earlier version holds in the indexes that an administrator gives it."""
    index = _index(tmp_path)
    _, record = index.tokens.create(TokenRequest(name="ci"), "local:test")
    before = _token_may(index, record, Action.UPLOAD)

    changed = index.tokens.name_indexes(record, (MAIN, "dev"), "local:test")

    assert before == {MAIN}
    assert _token_may(index, changed, Action.UPLOAD) == {MAIN, "dev"}
    index.tokens.revoke(record.id, "local:test")
    with pytest.raises(Conflict, match="is revoked"):
        index.tokens.name_indexes(record, ("prod",), "local:test")


def test_a_token_of_a_job_is_given_no_other_indexes(tmp_path: Path) -> None:
    """The indexes of a CI job's token are those of its publisher, and stay so."""
    index = _index(tmp_path)
    _, record = index.tokens.create(TokenRequest(name="ci"), "local:test")
    of_job = replace(record, id="9876543210", publishers=("gh",))
    index.tokens.records.create(of_job)

    with pytest.raises(Conflict, match="is a CI job's: change its trusted publisher"):
        index.tokens.name_indexes(of_job, ("prod",), "local:test")

    assert index.tokens.find(of_job.id).scope == record.scope


@pytest.mark.parametrize("may", [(), ("read",), ("read", "upload"), ("manage",)])
@pytest.mark.parametrize("grants", [(), (_grant("user:bo@acme.dev"),)])
def test_what_passwords_may_is_a_setting(
    tmp_path: Path, may: tuple[Any, ...], grants: tuple[dict[str, Any], ...]
) -> None:
    """A name of the htpasswd file may do in main what the settings say, whatever is granted."""
    access = AccessSettings(private=True, htpasswd_may=may)
    settings = Settings(access=access)
    index = _with_grants(tmp_path, settings, grants)

    may_upload = {MAIN} if may in {("read", "upload"), ("manage",)} else set()
    assert _where(index, "htpasswd:ana") == may_upload


def test_uploads_without_a_credential_are_for_main(tmp_path: Path) -> None:
    """A server that takes anonymous uploads takes none for an index with a name."""
    access = Settings().access
    settings = Settings(access=type(access)(anonymous_uploads=True))
    index = IndexHarness(tmp_path).opened(1, settings=settings, tables=TABLES)

    assert _where(index, "anonymous") == {MAIN}


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
    settings = Settings(access=access, google=GOOGLE)
    tables = toml_of(main=OPEN_MAIN, index=(*INDEXES, VIEW))
    index = IndexHarness(tmp_path).opened(1, settings=settings, tables=tables)
    fields = _fields("dev,view", action=action)

    warnings = texts_of(index.server.add_grant(fields, "local:test").warnings)

    is_told = [text.startswith("the index view has no packages of its own") for text in warnings]
    assert is_told == [True] * is_warned_of


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("main", ["anybody may read the index main all the same"]),
        ("prod", []),
        ("*", ["anybody may read the index main all the same"]),
    ],
)
def test_who_grants_a_right_hears_that_an_index_is_open(
    tmp_path: Path, named: str, words: list[str]
) -> None:
    """A grant is answered with the indexes that anybody may read all the same."""
    warnings = _index(tmp_path).server.add_grant(_fields(named), "local:test").warnings

    assert [caution.message.partition(":")[0] for caution in warnings] == words


def test_a_public_bucket_closes_no_index() -> None:
    """Who grants a right in an index is told that its files are public, if the bucket is."""
    settings = Settings(
        store=StoreSettings(downloads="public"), access=AccessSettings(private=True)
    )
    fields = [_fields(index) for index in ("", "prod")]
    grants = [build_grant("g1", named, NO_GROUPS) for named in fields]

    warnings = [list(stored_grant_warnings(settings, grant, Grants(), ())) for grant in grants]

    assert [len(texts) for texts in warnings] == [0, 1]
    assert "gets it from the public bucket" in warnings[1][0].message


@pytest.mark.parametrize(
    ("projects", "who", "is_told"),
    [("*", "anonymous", True), ("open-*", "anonymous", False), ("*", "user:ana@acme.dev", False)],
    ids=["everybody may read all", "everybody may read some", "one person may read all"],
)
def test_a_grant_beside_one_for_everybody(projects: str, who: str, *, is_told: bool) -> None:
    """Who grants a right to read is told if another grant lets anybody read every project."""
    others = GrantFields(who=(who,), projects=(projects,), actions=("read",))
    granted = build_grant("g1", _fields(""), NO_GROUPS)
    grants = Grants((build_grant("g2", others, NO_GROUPS), granted))

    warnings = list(texts_of(stored_grant_warnings(Settings(), granted, grants, ())))

    words = "anybody may read every project all the same"
    assert any(words in text for text in warnings) is is_told


@pytest.mark.parametrize(
    ("named", "open_indexes", "is_told"),
    [
        ("", (), True),
        ("*", ("dev",), True),
        ("prod", (), False),
        ("", (MAIN,), False),
        ("prod", (MAIN,), False),
    ],
)
def test_a_right_that_every_name_of_htpasswd_has(
    named: str, open_indexes: tuple[str, ...], *, is_told: bool
) -> None:
    """Who grants a right in a closed main is told if every htpasswd name has rights there."""
    settings = Settings(access=AccessSettings(htpasswd_file="users"))
    granted = build_grant("g1", _fields(named), NO_GROUPS)

    warnings = list(texts_of(stored_grant_warnings(settings, granted, Grants(), open_indexes)))

    assert any("every name in access.htpasswd_file" in text for text in warnings) is is_told


def test_a_token_for_all_indexes_is_for_administrators(tmp_path: Path) -> None:
    """Only administrators of the server make a token of their own for all indexes."""
    index = _index(tmp_path)
    for who, action in (("user:ana@acme.dev", "admin"), ("user:bo@acme.dev", "upload")):
        index.server.access.grant(_fields("*", who, action), "local:test")
    wanted = {
        who: TokenRequest(
            name="all", indexes=(EVERY_INDEX,), owner=TokenOwner(who, frozenset({who}))
        )
        for who in ("user:ana@acme.dev", "user:bo@acme.dev")
    }

    index.caller_tokens.require_own(wanted["user:ana@acme.dev"].owner, wanted["user:ana@acme.dev"])
    with pytest.raises(Forbidden, match="is for administrators of the server"):
        index.caller_tokens.require_own(
            wanted["user:bo@acme.dev"].owner, wanted["user:bo@acme.dev"]
        )


@pytest.mark.parametrize("text", ["dev,", ",", ",,dev", "dev, ,prod", " "])
def test_an_empty_name_in_a_list_is_refused(text: str) -> None:
    """A list of indexes with nothing beside a comma gives no right by mistake."""
    with pytest.raises(Invalid, match="a comma without a name"):
        parse_right_indexes(text, Action.ADMIN)
