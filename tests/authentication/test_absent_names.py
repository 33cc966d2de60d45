"""A grant to a name that nobody has is made, and answered with a warning."""

from pathlib import Path

import pytest

from tests.advice import texts_of
from tests.authentication.test_token_owners import ANA, BUCKET_SECONDS, OF_ANA, Place
from tests.operations.in_memory_index import IndexHarness
from wheelyard.api.access_operations import GroupEdit, edit_group
from wheelyard.api.local_api import LocalApi
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope
from wheelyard.model.grants import GrantFields
from wheelyard.model.index_name import EVERY_INDEX
from wheelyard.operations.access_control import GroupChange
from wheelyard.settings.sections import GoogleSettings, IdTokenSettings, Settings
from wheelyard.wiring.index import Index


def absent(index: Index, *who: str) -> dict[str, str]:
    """Grant a right, and return what the answer says of each name that nobody has."""
    fields = GrantFields(who=who, projects=("acme-*",), actions=("read",))
    added = index.server.add_grant(fields, "local:test")
    assert added.id in {grant.id for grant in index.server.access.load().all}
    warnings = [text for text in texts_of(added.warnings) if text.startswith("nobody has ")]
    return {text.split()[2]: text for text in warnings}


def test_a_name_that_is_nowhere_is_warned_of(tmp_path: Path) -> None:
    """Who grants a right is warned of each name that nobody has, and of no other."""
    place = Place(tmp_path)
    place.save(ANA)
    known = ("htpasswd:ana", OF_ANA, f"{OF_ANA}#{ANA.id}", "oidc:acme:group:platform")
    of_provider = ("oidc:acme:anna@acme.dev", "oidc:acme:group:platforms", f"{OF_ANA}#{'0' * 32}")
    unknown = ("htpasswd:anna", "static:ci", *of_provider)

    warnings = absent(place.index, "allAuthenticated", *known, *unknown)

    assert set(warnings) == set(unknown)
    assert "it is not in the htpasswd file" in warnings["htpasswd:anna"]
    assert "nobody who has signed in is in this group" in warnings["oidc:acme:group:platforms"]
    assert "if the name is wrong, revoke the grant" in warnings["static:ci"]


def test_members_of_a_group_are_looked_for(tmp_path: Path) -> None:
    """Who grants a right to a group is warned of its members that nobody is."""
    place = Place(tmp_path)
    place.index.server.access.edit_group(
        "set", "team", ["htpasswd:bo", "htpasswd:boo"], "local:test"
    )

    assert set(absent(place.index, "group:team")) == {"htpasswd:boo"}


def administrator(index: Index) -> LocalApi:
    """Return the operations as an administrator has them."""
    return LocalApi(
        index=index,
        caller=Caller("local:test", (Scope(Action.ADMIN, (EVERY_PROJECT,), (EVERY_INDEX,)),)),
    )


def test_whose_access_was_ended_is_named(tmp_path: Path) -> None:
    """A grant to somebody whose access was ended, or to their group, says that it opens nothing."""
    place = Place(tmp_path)
    place.save(ANA)
    place.index.server.access.end_person("htpasswd:bo", "local:test")
    place.index.server.people_administration.end(ANA.provider, ANA.id, "local:test")
    place.clock.advance(seconds=BUCKET_SECONDS)
    ended = ("htpasswd:bo", OF_ANA, f"{OF_ANA}#{ANA.id}")
    fields = GrantFields(who=("htpasswd:ana", *ended), projects=("acme-*",), actions=("read",))

    added = place.index.server.add_grant(fields, "local:test")
    edited = administrator(place.index).call(edit_group, GroupEdit("set", "team", fields.who))

    warnings = [text for text in texts_of(added.warnings) if "has ended that access" in text]
    assert [text.split()[4] for text in warnings] == sorted(ended)
    assert "If it is to stay so, revoke the grant. To let them in again: " in warnings[-1]
    assert warnings[-1].endswith(f"'wheelyard people admit '{OF_ANA}#{ANA.id}''.")
    assert edited is not None
    of_members = [text for text in texts_of(edited.warnings) if text.split()[4] in ended]
    assert ["If it is to stay so, remove it again." in text for text in of_members] == [True] * 3


def test_a_group_without_members_is_named(tmp_path: Path) -> None:
    """A grant to a group that has no members says that nobody has it now."""
    place = Place(tmp_path)
    for name, members in (("team", []), ("other", ["htpasswd:bo"])):
        place.index.server.access.edit_group("set", name, members, "local:test")

    fields = GrantFields(who=("group:team", "group:other"), projects=("x",), actions=("read",))
    added = place.index.server.add_grant(fields, "local:test")

    (warning,) = [text for text in texts_of(added.warnings) if "no members" in text]
    assert "gives nobody anything by group:team now" in warning
    assert "'wheelyard access group add team PRINCIPAL...'" in warning


def test_members_of_an_unknown_provider_are_named(tmp_path: Path) -> None:
    """Who adds somebody of a provider that the settings lack to a group hears it, as in a grant."""
    api = administrator(Place(tmp_path).index)

    edited = api.call(edit_group, GroupEdit("set", "team", ("oidc:other:ana@acme.dev",)))

    assert edited is not None
    (warning,) = texts_of(edited.warnings)
    assert warning.startswith("the group team gives nobody anything by oidc:other:ana@acme.dev: ")
    assert warning.endswith("no [[sign_in]] of this name; correct it, or add other")
    assert api.call(edit_group, GroupEdit("remove", "team", ("oidc:other:ana@acme.dev",))) is None


def test_new_members_are_looked_for(tmp_path: Path) -> None:
    """Who makes or adds to a group hears of members whom nobody is, and of no others."""
    api = administrator(Place(tmp_path).index)

    def edit(change: GroupChange, *who: str) -> list[str]:
        edited = api.call(edit_group, GroupEdit(change, "team", who))
        return texts_of(edited.warnings if edited else ())

    (warning,) = edit("set", "htpasswd:bo", "htpasswd:boo")
    assert warning.startswith("nobody has htpasswd:boo now: it is not in the htpasswd file; ")
    assert warning.endswith("if the name is wrong, remove it again")
    assert len(edit("add", "static:ci")) == 1
    assert edit("add", "htpasswd:ana") == edit("remove", "htpasswd:boo") == edit("delete") == []


def test_without_a_file_no_user_has_a_password(tmp_path: Path) -> None:
    """A grant to a user is warned of with the setting that is missing: the htpasswd file."""
    warnings = absent(IndexHarness(tmp_path).index, "htpasswd:ana")

    assert "the settings name no htpasswd file" in warnings["htpasswd:ana"]


@pytest.mark.parametrize("has_google", [False, True])
def test_google_accounts_are_absent_without_google(tmp_path: Path, *, has_google: bool) -> None:
    """An account is somebody's if Google signs people in, or if it owns a token."""
    google = GoogleSettings(id_token=IdTokenSettings(audience=("https://index",)))
    settings = Settings(google=google if has_google else GoogleSettings())
    index = IndexHarness(tmp_path).opened(1, settings=settings)
    owner = index.authenticator.owners.named("user:bo@acme.dev,domain:acme.dev")
    request = TokenRequest(name="laptop", actions=Action.READ, owner=owner)
    index.tokens.create(request, by="local:test")

    warnings = absent(index, "user:ana@acme.dev", "user:bo@acme.dev", "domain:acme.dev")

    assert set(warnings) == (set() if has_google else {"user:ana@acme.dev"})
