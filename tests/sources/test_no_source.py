"""Places that no packages can be imported from."""

import pytest

from tests.advice import in_terminal
from tests.sources.offering import taken
from tests.storage.gcs.opened import EMULATOR
from wheelyard.errors import Invalid


@pytest.mark.parametrize(
    ("text", "request_", "words"),
    [
        ("nowhere", {}, "The folder 'nowhere' cannot be read"),
        ("gs://NO", {}, "gs://BUCKET"),
        (__file__, {}, f"Or publish that file: 'wheelyard upload {__file__}'."),
        ("nowhere", {"kind": "apt"}, "no kind of source"),
        ("https://a b/", {}, "cannot be used"),
        ("https:/u:secret@example.com/", {}, "no URL of http"),
        ("gs://acme", {"meta": "https:/u:secret@example.com/"}, "no URL of http"),
        ("https://example.com:x/", {}, "cannot be used"),
        ("https://u:secret@example.com/", {"kind": "devpi"}, "a folder, gs://"),
        ("gs://acme", {"kind": "backupni"}, "--meta"),
        ("list.json", {"kind": "dumb-pypi", "packages_url": "x"}, "no package list"),
        ("https://example.com/packages.json", {}, "--packages-url"),
    ],
)
def test_what_is_no_source(
    monkeypatch: pytest.MonkeyPatch, text: str, request_: dict[str, str], words: str
) -> None:
    """What cannot be imported from is refused with what to do, and without a credential in it."""
    monkeypatch.setenv(EMULATOR, "http://127.0.0.1:1")
    with pytest.raises(Invalid) as raised:
        taken(text, **request_)

    assert raised.value.code == "bad_source"
    assert words in in_terminal(raised.value)
    assert "secret" not in in_terminal(raised.value)
