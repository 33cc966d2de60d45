"""Who may do what to a project, and why."""

from datetime import timedelta
from pathlib import Path

from packaging.utils import NormalizedName

from tests.operations.in_memory_index import Clock, fake_runtime
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.rights import effective_access, explain, parse_subject
from wheelyard.model.access import Action, Caller, Identity, parse_actions, parse_pattern
from wheelyard.model.api_token import NOBODY, TokenOwner
from wheelyard.model.grants import GrantFields
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.storage.base import Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import Index, build_index

CORE = NormalizedName("acme-core")
READ, UPLOAD = Action.READ, Action.UPLOAD.with_implied
ANA = "user:ana@acme.dev"


def index_of(folder: Path, settings: Settings) -> Index:
    """Return an index over an empty store in memory."""
    clock = Clock()
    return build_index(
        Stores.of(MemoryStore(clock.seconds)), Spool(folder), settings, fake_runtime(clock, 1)
    )


def told(index: Index) -> list[tuple[str, Action, str]]:
    """Return what is said of the project."""
    entries = effective_access(CORE, index.authenticator, index.tokens.all())
    return [(entry.who, entry.actions, entry.reason) for entry in entries]


def caller_of(index: Index, who: str) -> Caller:
    """Return the caller that has this principal."""
    kind, _, token_id = who.partition(":")
    if kind == "token":
        return index.authenticator.caller_for_token(index.tokens.active(token_id))
    identity = Identity(who, frozenset({who, "anonymous"}))
    return index.authenticator.policy.authorize(identity)


def test_everybody_reads_without_a_grant(tmp_path: Path) -> None:
    """Without a grant everybody may read, and a static token of the environment may upload."""
    access = AccessSettings(anonymous_uploads=True, static_token="a-static-token-of-many-letters")

    assert told(index_of(tmp_path, Settings(access=access))) == [
        ("static:environment", UPLOAD, "static token"),
        ("everybody", Action.UPLOAD, "access.anonymous_uploads is set"),
        ("everybody", READ, "there is no [[grant]], and access.private is not set"),
    ]


def test_grants_and_tokens_give_the_explained_rights(tmp_path: Path) -> None:
    """Grants of settings and store count, and active tokens inside the rights of their owners."""
    grants: tuple[dict[str, object], ...] = (
        {"who": ["anonymous"], "projects": ["acme-*"], "actions": ["read"]},
        {"who": [ANA], "projects": ["other"], "actions": ["manage"]},
    )
    index = index_of(tmp_path, Settings(grant=grants, groups={"team": [ANA]}))
    fields = GrantFields(who=("group:team",), projects=("acme-core",), actions=("upload",))
    grant_id = index.access.grant(fields, "local:test")

    def make(name: str, project: str, owner: str = "", days: int = 30) -> str:
        request = TokenRequest(
            name=name,
            actions=parse_actions(["manage"]),
            projects=(parse_pattern(project),),
            lifetime=timedelta(days),
            owner=TokenOwner(owner, frozenset({owner})) if owner else NOBODY,
        )
        return index.tokens.create(request, "local:test")[1].id

    free, owned, gone = make("ci", "acme-*"), make("ana's", "*", ANA), make("old", "*")
    make("other", "other")
    index.tokens.revoke(gone, "local:test")

    assert told(index) == [
        (f"token:{free} (ci)", Action.MANAGE.with_implied, "API token, until 2026-01-31"),
        ("group:team", UPLOAD, f"grant {grant_id} in the store"),
        (
            f"token:{owned} (ana's)",
            UPLOAD,
            f"API token of {ANA}, inside the rights of its owner, until 2026-01-31",
        ),
        ("anonymous", READ, "grant 1 of the settings"),
    ]

    for who in (ANA, "user:bo@acme.dev", "anonymous", f"token:{free}", f"token:{owned}"):
        for action in Action:
            subject = parse_subject(who, index.authenticator)
            explained = explain(subject, action, CORE, index.authenticator, ())
            assert explained.allowed == caller_of(index, who).may(action, CORE)
