"""Bodies of HTML forms."""

from contextlib import suppress
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.errors import Invalid
from wheelyard.http.forms import MAX_FIELDS, parse_form

TEXTS = st.text(max_size=40)


@given(st.lists(st.tuples(TEXTS.filter(bool), TEXTS), max_size=8))
def test_fields_are_read_as_a_browser_sends_them(pairs: list[tuple[str, str]]) -> None:
    """Each field of a form has exactly the text that was typed, in any alphabet."""
    fields = parse_form(urlencode(pairs).encode())

    for name in {name for name, _ in pairs}:
        assert list(fields.all(name)) == [text for each, text in pairs if each == name]


@given(st.binary(max_size=200))
def test_any_bytes_are_fields_or_refused(body: bytes) -> None:
    """Whatever a client sends as a form is read, or refused as its mistake."""
    with suppress(Invalid):
        parse_form(body)


def test_a_repeated_field_is_refused() -> None:
    """A field that is there twice is refused, and a list of ticked boxes is not."""
    fields = parse_form(b"version=1&version=2&reason=+too+old+")

    assert fields.all("version") == ("1", "2")
    assert (fields.text("reason"), fields.exact_text("reason")) == ("too old", " too old ")
    assert (fields.text("missing"), fields.all("missing")) == ("", ())
    with pytest.raises(Invalid) as refused:
        fields.text("version")
    assert refused.value.code == "duplicate_field"


def test_a_secret_in_a_broken_form_is_in_no_error() -> None:
    """The error about a form that cannot be read holds nothing of what was typed."""
    for body in (b"password=hunter2&x=%ff", b"password=hunter2" + b"&a=" * MAX_FIELDS):
        with pytest.raises(Invalid) as refused:
            parse_form(body)
        assert "hunter2" not in quote(str(refused.value))
        assert refused.value.__context__ is None
