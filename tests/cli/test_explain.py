"""The output of `wheelyard access explain`, and of `token list` for CI jobs."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec.structs import replace

from tests.cli.conftest import ROBOT, Done, Typed
from tests.clients.harness import Sandbox
from tests.index_tables import put_tables, toml_of
from wheelyard.api.local_api import LocalApi
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.errors import Unavailable
from wheelyard.model.access import Action, parse_pattern
from wheelyard.model.api_token import TokenOwner
from wheelyard.model.grants import GrantFields
from wheelyard.settings.load import load_settings
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index
from wheelyard.wiring.index import Index


@pytest.fixture
def explain(wheelyard: Typed, settings_with_grants: Path, index: Index) -> Typed:
    """Ask who may do what; in what is printed, grants have their numbers in place of their ids."""
    ids = [grant.id for grant in index.server.access.show().grants]

    def type_question(*arguments: str) -> Done:
        return numbered(
            wheelyard("access", "explain", *arguments, "--config", settings_with_grants), ids
        )

    return type_question


def numbered(done: Done, ids: Sequence[str]) -> Done:
    """Return what was printed with the numbers of grants, from 1, in place of their ids."""
    for number, grant_id in enumerate(ids, 1):
        done.stdout = done.stdout.replace(f"grant {grant_id}", f"grant {number}")
    return done


@pytest.mark.parametrize(
    ("who", "project", "action", "reason"),
    [
        ("domain:acme.dev", "acme-core", "read", "grant 1: domain:acme.dev may read acme-*"),
        ("user:ANA@acme.dev", "Acme.Core", "upload", "grant 2: user:ana@acme.dev may"),
        ("user:bo@acme.dev", "open-x", "read", "grant 3: allAuthenticated may read open-*"),
        (
            "static:old, ci",
            "acme-x",
            "upload",
            "static token: static:old, ci may read and",
        ),
        (f"{ROBOT}#123", "robots", "upload", f"grant 4: {ROBOT}#123 may read and upload to robots"),
        (ROBOT, "robot-tools", "read", "grant 5"),
        ("htpasswd:ml-ci", "robot-tools", "read", "grant 5"),
        (
            "publisher:core",
            "acme-core",
            "upload",
            "trusted publisher: publisher:core may",
        ),
    ],
)
def test_allowed_access_names_its_grant(
    explain: Typed, who: str, project: str, action: str, reason: str
) -> None:
    """For allowed access, the output names the grant or the own right."""
    done = explain(who, project, action)

    assert done.returncode == 0
    assert done.stdout.startswith("yes: ")
    assert f"\n  {reason}" in done.stdout


def test_through_a_group(wheelyard: Typed, index_without_rights: Index) -> None:
    """For access by a group, the output names the grant, the group and the member."""
    table = {"who": ["group:team"], "projects": ["ml-*"], "actions": ["upload"]}
    members = ["htpasswd:ml-ci", "domain:acme.dev"]
    put_tables(index_without_rights, toml_of(grant=[table], groups={"team": members}))
    ids = [grant.id for grant in index_without_rights.server.access.show().grants]

    def explain_to(who: str) -> Done:
        asked = ("access", "explain", who, "ml-core", "upload")
        return numbered(wheelyard(*asked, WHEELYARD_ACCESS_PRIVATE="true"), ids)

    done = explain_to("user:ana@acme.dev,domain:acme.dev")
    other, group = explain_to("user:ana@acme.dev"), explain_to("group:team")

    scope = "read and upload to ml-* in the index main"
    reason = f"grant 1: group:team may {scope}; domain:acme.dev is in group:team"
    assert f"\n  {reason}\n" in done.stdout
    assert (done.returncode, other.returncode, group.returncode) == (0, 1, 2)
    assert "grant 1 is for domain:acme.dev: ask for user:ana@acme.dev,domain" in other.stdout
    assert "Name one of its members" in group.stderr


@pytest.mark.parametrize(
    ("who", "project", "action", "status"),
    [
        ("anonymous", "acme-core", "read", "401"),
        ("user:bo@acme.dev", "acme-core", "read", "404"),
        ("user:bo@acme.dev", "pay-roll", "read", "403"),
        ("publisher:core", "acme-other", "upload", "403"),
        ("publisher:core", "open-x", "read", "404"),
        ("user:ana@acme.dev", "acme-core", "admin", "403"),
        (ROBOT, "robots", "upload", "403"),
        ("htpasswd:ml-ci#123", "robot-tools", "read", "401, because the htpasswd file has no"),
    ],
)
def test_denied_access_names_the_response(
    explain: Typed, who: str, project: str, action: str, status: str
) -> None:
    """For denied access, the output has the response that the caller would get."""
    done = explain(who, project, action)

    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.startswith("no: ")
    assert f"they see {status}" in done.stdout


@pytest.mark.parametrize(
    ("who", "project", "hint"),
    [
        (ROBOT, "robots", f"grant 4 is for {ROBOT}#123: ask for it so, if that is the account's"),
        (f"{ROBOT}#99", "robots", f"grant 4 is for {ROBOT}#123: ask for it so"),
        (
            ROBOT.replace("serviceAccount", "user"),
            "robots",
            f"grant 4 is for {ROBOT}#123: a service account is no user",
        ),
        (
            "user:bo@acme.dev",
            "acme-core",
            "grant 1 (everyone employed) is for domain:acme.dev: ask for user:bo@acme.dev,domain",
        ),
        ("user:bo@else.dev", "acme-core", ""),
    ],
)
def test_other_principals_are_named(explain: Typed, who: str, project: str, hint: str) -> None:
    """If another principal of the user has access, the output names it."""
    hints = explain(who, project, "read").stdout.splitlines()[2:]

    assert len(hints) == bool(hint)
    assert all(line.startswith(f"  {hint}") for line in hints)


def test_without_the_passwords(explain: Typed, settings_with_grants: Path) -> None:
    """Access is explained although the password file is missing."""
    (settings_with_grants.parent / "users").unlink()

    done = explain("htpasswd:ml-ci", "tools", "upload")

    assert (done.returncode, done.stdout[:4]) == (0, "yes:")


def test_without_grants_the_defaults_are_said(wheelyard: Typed) -> None:
    """Without any grant, the output names the default that holds."""
    done = wheelyard("access", "explain", "anonymous", "x", "read")
    assert "the index is open for reading: everybody may" in done.stdout
    done = wheelyard("access", "explain", "htpasswd:ana", "x", "upload")
    assert "access.htpasswd_may: every name of the htpasswd file may" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["group:all@acme.dev", "x", "read"], 2, "no credential tells of Google groups"),
        (["ana", "x", "read"], 2, "nobody that a grant can name"),
        (["anonymous", "a b", "read"], 2, "not a project name"),
        (["anonymous", "x", "fly"], 2, "fly"),
        (["token:0123456789", "x", "read"], 1, "no token with the id"),
    ],
)
def test_bad_question_fails(explain: Typed, arguments: list[str], status: int, words: str) -> None:
    """A question that makes no sense is refused with the reason."""
    done = explain(*arguments)

    assert done.returncode == status
    assert words in done.stderr


def test_a_token_without_a_store(wheelyard: Typed) -> None:
    """A token cannot be explained without a store, and the message says so."""
    done = wheelyard("access", "explain", "token:0123456789", "x", "read")

    assert (done.returncode, "There is no store" in done.stderr) == (1, True)


@pytest.fixture
def index(sandbox: Sandbox, settings_with_grants: Path) -> Index:
    """The store that the commands use."""
    store = {"location": str(sandbox.folder / "wheelyard-data")}
    return open_index(
        load_settings(file=settings_with_grants, overrides={"store": store}, environ={}).settings
    )


@pytest.fixture
def index_without_rights(sandbox: Sandbox) -> Index:
    """A store without rights."""
    place = StoreSettings(location=str(sandbox.folder / "wheelyard-data"))
    return open_index(Settings(store=place))


def test_a_token_is_explained_by_scope_or_state(explain: Typed, index: Index) -> None:
    """A token is explained by its own rights or, once it is revoked, by its state."""
    request = TokenRequest(name="ci", projects=(parse_pattern("acme-*"),))
    token = index.tokens.create(request, by="local:ana")[0]
    who = f"token:{token.id}"

    assert "API token, until" in explain(who, "acme-x", "upload").stdout
    assert "they see 404" in explain(who, "tools", "read").stdout
    index.tokens.revoke(token.id, by="local:ana")
    assert "401, because the token is revoked" in explain(who, "acme-x", "upload").stdout


def test_a_personal_token_stays_within_its_owners_rights(explain: Typed, index: Index) -> None:
    """A personal token has the rights it was created with, within those of its owner now."""
    request = TokenRequest(
        name="ana's",
        actions=Action.READ | Action.UPLOAD,
        owner=TokenOwner("user:bo@acme.dev", frozenset({"user:bo@acme.dev", "domain:acme.dev"})),
    )
    token = index.tokens.create(request, by="user:bo@acme.dev")[0]

    explained = explain(f"token:{token.id}", "acme-core", "read").stdout
    assert "API token of user:bo@acme.dev, inside the rights of its owner" in explained
    assert "may read acme-*" in explained
    assert "they see 403" in explain(f"token:{token.id}", "acme-core", "upload").stdout


def test_minted_tokens_are_marked_until_they_expire(wheelyard: Typed, index: Index) -> None:
    """The tokens of jobs are marked in the list, and left out once they have expired."""
    ids = {}
    for name, hours in (("job", 1), ("old job", -1)):
        _, record = index.tokens.create(TokenRequest(name=name), by="publisher:core")
        snapshot = index.tokens.records.get_for_update(record.id)
        expires = index.server.runtime.now() + timedelta(hours=hours)
        minted = replace(record, publishers=("core",), expires_at=expires)
        assert index.tokens.records.replace(minted, snapshot)
        ids[name] = record.id

    listed = wheelyard("token", "list").stdout

    assert listed.startswith(ids["job"])
    assert listed.endswith("\tactive\tmade by publisher:core\tminted\n")
    assert ids["old job"] not in listed


@pytest.mark.parametrize(("expires", "hours"), [("12h", 12), ("36h", 36), ("2d", 48)])
def test_a_token_lives_for_parts_of_a_day(
    wheelyard: Typed, index: Index, expires: str, hours: int
) -> None:
    """A token lives for any number of hours or days."""
    made = wheelyard("token", "create", "ci", "--expires", expires)
    assert made.returncode == 0, made.stderr

    (token,) = index.tokens.all()
    assert round((token.expires_at - token.created_at) / timedelta(hours=1)) == hours


def test_list_says_who_revoked_a_token(wheelyard: Typed, index: Index) -> None:
    """Whoever looks for what happened to a token sees who made it, and who revoked it."""
    token = index.tokens.create(TokenRequest(name="ci"), by="htpasswd:ana")[0]
    index.tokens.revoke(token.id, by="htpasswd:bo")

    listed = wheelyard("token", "list", "--state", "revoked").stdout

    assert listed.endswith("\trevoked\tmade by htpasswd:ana\trevoked by htpasswd:bo\n")


def test_person_is_shown_in_columns(wheelyard: Typed, index: Index) -> None:
    """The first line of a person has columns, as the list has; groups follow, if there are any."""
    index.server.access.end_person("htpasswd:bo", "local:ana")
    index.server.access.edit_group("make", "chiefs", ["htpasswd:bo"], "local:ana")

    shown = wheelyard("people", "show", "htpasswd:bo").stdout
    other = wheelyard("people", "show", "htpasswd:ml-ci").stdout

    assert shown.startswith("htpasswd:bo\tended\tended 20")
    assert shown.splitlines()[1] == "groups of this index: chiefs"
    assert "groups of this index" not in other


@pytest.mark.parametrize("is_open", [True, False])
def test_whoever_reads_anything_reads_public_packages(
    wheelyard: Typed, index_without_rights: Index, *, is_open: bool
) -> None:
    """Whoever may read anything may read public packages, of which no grant has a word."""
    variables = {
        "WHEELYARD_TOML": """
            [upstream]
            enabled = true
            url = "https://index.invalid/simple/"
            private = ["acme-*"]
            [access]
            private = true
            htpasswd_may = []
            private_names = ["pay-*"]
        """
    }
    table = {"who": ["htpasswd:ml-ci"], "projects": ["acme-*"], "actions": ["read"]}
    put_tables(index_without_rights, toml_of(grant=[table]))
    if is_open:
        wheelyard("token", "create", "ci", **variables)

    def explanation_for(who: str, name: str, action: str = "read") -> str:
        return wheelyard("access", "explain", who, name, action, **variables).stdout

    answer = explanation_for("htpasswd:ml-ci", "requests")
    assert answer.startswith("yes: htpasswd:ml-ci may read requests\n")
    assert "whoever may read or approve anything may read public packages" in answer
    assert "they see 403" in explanation_for("htpasswd:ml-ci", "pay-roll")
    assert "they see 404" in explanation_for("user:bo@acme.dev", "requests")
    assert "they see 401" in explanation_for("anonymous", "requests")
    assert "they see 403" in explanation_for("htpasswd:ml-ci", "requests", "upload")
    assert "there is no such static token" in explanation_for("static:environment", "acme-core")


def test_grants_are_shown_without_the_names_of_tokens(
    wheelyard: Typed, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the names of tokens cannot be read, grants and changes are shown, with a warning."""

    def fail(*_: object) -> NoReturn:
        raise Unavailable("No answer.")

    monkeypatch.setattr(LocalApi, "name_of", fail)
    for option, count in (((), len(index.server.access.show().grants)), (("--history",), 1)):
        done = wheelyard("access", "show", *option)

        assert (done.returncode, done.stdout.count("\n") >= count) == (0, True)
        assert done.stderr == "wheelyard: warning: the names of tokens cannot be read: No answer.\n"


def test_an_administrator_by_a_token_is_told_what_the_token_may_not(
    wheelyard: Typed, index: Index
) -> None:
    """The answer that a token of somebody administers says what only its owner may do."""
    owner = TokenOwner("user:ana@acme.dev", frozenset({"user:ana@acme.dev"}))
    fields = GrantFields(who=("user:ana@acme.dev",), projects=("*",), actions=("admin",))
    index.server.access.grant(fields, "local:bo")
    request = TokenRequest(name="ops", actions=Action.ADMIN, owner=owner)
    token = index.tokens.create(request, by="local:bo")[1]

    done = wheelyard("access", "explain", f"token:{token.id}", "acme-core", "admin")

    assert done.returncode == 0
    hint = "a token of somebody makes no token, and changes no grant and no person"
    assert hint in done.stdout
