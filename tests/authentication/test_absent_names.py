"""A grant to a name that nobody has is made, and answered with a warning."""

from pathlib import Path

import pytest

from tests.authentication.test_token_owners import ANA, OF_ANA, Place
from tests.operations.in_memory_index import IndexHarness
from wheelyard.api.access_operations import GroupEdit, edit_group
from wheelyard.api.table import LocalApi
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope
from wheelyard.model.grants import GrantFields
from wheelyard.operations.access_control import GroupChange
from wheelyard.settings.sections import GoogleSettings, IdTokenSettings, Settings
from wheelyard.wiring.index import Index


def absent(index: Index, *who: str) -> dict[str, str]:
    """Grant a right, and return what the answer says of each name that nobody has."""
    fields = GrantFields(who=who, projects=("acme-*",), actions=("read",))
    added = index.add_grant(fields, "local:test")
    assert added.id in {grant.id for grant in index.access.load().all}
    said = [text for text in added.warnings if text.startswith("nobody has ")]
    return {text.split()[2]: text for text in said}


def test_a_name_that_is_nowhere_is_warned_of(tmp_path: Path) -> None:
    """Names of passwords, of a provider and its groups are looked for, and somebody's are not."""
    place = Place(tmp_path)
    place.save(ANA)
    known = ("htpasswd:ana", OF_ANA, f"{OF_ANA}#{ANA.id}", "oidc:acme:group:platform")
    of_provider = ("oidc:acme:anna@acme.dev", "oidc:acme:group:platforms", f"{OF_ANA}#{'0' * 32}")
    unknown = ("htpasswd:anna", "static:ci", *of_provider)

    said = absent(place.index, "allAuthenticated", *known, *unknown)

    assert set(said) == set(unknown)
    assert "it is not in the htpasswd file" in said["htpasswd:anna"]
    assert "nobody who has signed in is in this group" in said["oidc:acme:group:platforms"]
    assert "if the name is wrong, revoke the grant" in said["static:ci"]


def test_members_of_a_group_are_looked_for(tmp_path: Path) -> None:
    """A member of a group that is granted a right, and whom nobody is, is named, too."""
    place = Place(tmp_path)
    place.index.access.edit_group("set", "team", ["htpasswd:bo", "htpasswd:boo"], "local:test")

    assert set(absent(place.index, "group:team")) == {"htpasswd:boo"}


def test_new_members_are_looked_for(tmp_path: Path) -> None:
    """Who makes or adds to a group hears of members whom nobody is, and of no others."""
    place = Place(tmp_path)
    caller = Caller("local:test", (Scope(Action.ADMIN, (EVERY_PROJECT,)),))
    api = LocalApi(index=place.index, caller=caller)

    def edit(change: GroupChange, *who: str) -> tuple[str, ...]:
        edited = api.call(edit_group, GroupEdit(change, "team", who))
        return edited.warnings if edited else ()

    (warning,) = edit("set", "htpasswd:bo", "htpasswd:boo")
    assert warning.startswith("nobody has htpasswd:boo now: it is not in the htpasswd file; ")
    assert warning.endswith("if the name is wrong, remove it again")
    assert len(edit("add", "static:ci")) == 1
    assert edit("add", "htpasswd:ana") == edit("remove", "htpasswd:boo") == edit("delete") == ()


@pytest.mark.parametrize("has_google", [False, True])
def test_google_accounts_are_absent_without_google(tmp_path: Path, *, has_google: bool) -> None:
    """An account is somebody's if Google signs people in, or if it owns a token."""
    google = GoogleSettings(id_token=IdTokenSettings(audience=("https://index",)))
    settings = Settings(google=google if has_google else GoogleSettings())
    index = IndexHarness(tmp_path).opened(1, settings=settings)
    owner = index.authenticator.owners.named("user:bo@acme.dev,domain:acme.dev")
    request = TokenRequest(name="laptop", actions=Action.READ, owner=owner)
    index.tokens.create(request, by="local:test")

    said = absent(index, "user:ana@acme.dev", "user:bo@acme.dev", "domain:acme.dev")

    assert set(said) == (set() if has_google else {"user:ana@acme.dev"})
