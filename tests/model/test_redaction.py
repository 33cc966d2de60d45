"""Secrets that are recognised by their form and redacted."""

import pytest

from wheelyard.model.decoding import redact_tokens

BODY = "a1B2" * 12


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"/simple/wyd_{BODY}/", "/simple/wyd_***/"),
        (f"/simple/WYD_{BODY}/", "/simple/WYD_***/"),
        (f"/simple/wyd-{BODY.lower()}/", "/simple/wyd-***/"),
        ("wyd_a1 ", "wyd_*** "),
        ("Bearer ya29.a0AfH6SMBx-7_hQJ.z end", "Bearer ya29.*** end"),
        ("/eyJhbGciOi.eyJpc3Mi.c2ln-_x/", "/eyJ***/"),
        ("/eyJhbGciOi", "/eyJ***"),
    ],
)
def test_a_token_leaves_only_its_beginning(text: str, shown: str) -> None:
    """A token, whole or cut, leaves the beginning that says what it was."""
    assert redact_tokens(text) == shown


@pytest.mark.parametrize("text", ["/simple/wyd-tools/", "/files/wydra-1.0.tar.gz", "eyJ.", "ya29"])
def test_a_name_that_begins_alike_is_shown(text: str) -> None:
    """A name that begins alike is shown as it is."""
    assert redact_tokens(text) == text
