"""Trusted publishers as texts of a form or a command."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from tests.model.jobs import BUILDKITE, GITHUB, GITLAB, GOOGLE, OIDC, Table
from wheelyard.errors import Invalid
from wheelyard.model.publisher import PROVIDERS, parse_publisher
from wheelyard.model.publisher_texts import keys_of_texts, texts_of_keys
from wheelyard.rendering.web.admin.publisher_fields import PROVIDERS as FORMS

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20)


TEXTUAL: Table = {**OIDC, "id": "a-text-like-a-boolean", "match": {"sub": "true", "admin": False}}


@pytest.mark.parametrize(
    "table", [GITHUB, GITLAB, GOOGLE, BUILDKITE, OIDC, TEXTUAL], ids=lambda table: table["id"]
)
def test_texts_are_the_same_publisher(table: Table) -> None:
    """A publisher whose keys were texts of a form is the same publisher."""
    provider = str(table["provider"])

    keys = keys_of_texts(provider, texts_of_keys(table))

    assert parse_publisher(keys) == parse_publisher(table)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_form_has_the_keys_of_its_provider(provider: str) -> None:
    """The form of a provider has each key of its table, and no other one."""
    keys = {field.encode_name for field in fields(PROVIDERS[provider])}

    asked = [field.key for field in FORMS[provider].fields]

    assert sorted(asked) == sorted(keys - {"id", "projects", "actions", "index"})
    assert {field.key for field in FORMS[provider].fields if field.is_required} == {
        field.encode_name for field in fields(PROVIDERS[provider]) if field.required
    } - {"id", "projects"}
    assert set(FORMS) == set(PROVIDERS)


@pytest.mark.parametrize(
    ("provider", "key", "text", "value"),
    [
        ("github", "repository_id", " 12 ", 12),
        ("github", "repository_id", "012", "012"),
        ("github", "events", "push, release\nschedule,", ["push", "release", "schedule"]),
        ("github", "ref_protected", "TRUE", True),
        ("github", "ref_protected", "perhaps", "perhaps"),
        ("github", "max_lifetime", "600", 600),
        ("gitlab", "allow_unprotected", "false", False),
        ("oidc", "match", 'a = x=y\n\nb=true\nc = "true"', {"a": "x=y", "b": True, "c": "true"}),
    ],
)
def test_values_of_texts(provider: str, key: str, text: str, value: object) -> None:
    """A text becomes what its key is: a text, a number, a list, a boolean or a table."""
    assert keys_of_texts(provider, {"id": "x", key: text})[key] == value


@pytest.mark.parametrize(
    ("provider", "texts", "field"),
    [
        ("svn", {}, "provider"),
        ("github", {"organization": "acme"}, "organization"),
        ("oidc", {"match": "sub"}, "match"),
        ("oidc", {"match": "= x"}, "match"),
        ("oidc", {"match": "sub = x\nsub = y"}, "match"),
    ],
)
def test_what_makes_no_sense_is_refused(provider: str, texts: dict[str, str], field: str) -> None:
    """An unknown provider or key, and half a claim or the same twice, are refused by name."""
    with pytest.raises(Invalid) as refused:
        keys_of_texts(provider, texts)

    assert refused.value.field == field


@given(st.sampled_from(list(PROVIDERS)), st.data())
def test_any_texts_are_parsed_or_refused(provider: str, data: st.DataObject) -> None:
    """Whatever is typed into a form, it is a publisher or is refused with a message."""
    names = [field.encode_name for field in fields(PROVIDERS[provider])]
    texts = data.draw(st.dictionaries(st.sampled_from(names), TEXT))

    with suppress(Invalid):
        assert parse_publisher(keys_of_texts(provider, texts)).id == texts["id"]
