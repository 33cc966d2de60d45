"""Settings and grants that are valid but probably unintended: the warnings at the start."""

from pathlib import Path

import pytest

from tests.advice import texts_of
from tests.index_tables import split
from tests.operations.in_memory_index import IndexHarness
from tests.settings.written import GRANT, settings_of
from wheelyard.settings.load import load_settings
from wheelyard.settings.validation import warnings_for
from wheelyard.wiring.warnings import index_warnings

PROXIED = '[server]\npublic_url = "https://packages.example.com"\n'
BUCKET = '[store]\nlocation = "gs://acme"\n'
TLS = 'certificate = "a.pem"\nkey = "b.pem"\n'
UPSTREAM = '[upstream]\nenabled = true\nurl = "https://index.example.com/simple/"\n'
PUBLIC = '[server]\nhost = "192.0.2.1"\n'
CLOSED = '[main]\nread = "granted"\n'
"""In the store."""


def warnings_of(folder: Path, text: str) -> list[str]:
    """Return the warnings of settings and of an index, in a text with the tables of both."""
    of_process, of_index = split(text)
    settings = settings_of(of_process, folder)
    index = IndexHarness(folder).opened(3, settings=settings, tables=of_index)
    return texts_of([*warnings_for(settings), *index_warnings(index)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[server]\nhost = "0.0.0.0"', "may read every package"),
        ('[server]\nhost = "0.0.0.0"', "credentials may come over plain HTTP"),
        (PROXIED, "may read every package"),
        (PROXIED.replace("https", "http"), "credentials may come over plain HTTP"),
        (PROXIED + "[access]\nanonymous_uploads = true", "may publish under any name"),
        ("[server]\ntrusted_proxies = 1", "may read every package"),
        (
            CLOSED
            + '[google.id_token]\naudience = ["a"]\n'
            + GRANT.format("allAuthenticated", "*"),
            "every Google account there is",
        ),
        (PUBLIC + CLOSED + GRANT.format("anonymous", "*"), "may read every package"),
        (
            BUCKET + CLOSED + GRANT.format("anonymous", "*"),
            "tokens lie in the bucket of the packages",
        ),
        (BUCKET + '[access]\ncredentials_store = "gs://acme/c"', "IAM condition"),
        (BUCKET + "[access]\ncookie_login = true", "the keys of sessions lie in the bucket"),
        (
            BUCKET + 'downloads = "public"\nfiles = "gs://open"\n[access]\nprivate = true',
            "knows the URL",
        ),
        (
            '[google.access_token]\nresource = "gs://acme"',
            "reading is open to everybody all the same",
        ),
        (UPSTREAM + 'private = ["acme"]\nshadow = ["*"]', "every public name can be taken over"),
        (UPSTREAM, "no name is said to be private"),
        (UPSTREAM + 'private = ["Acme_*"]', "acme-* in upstream.private does not match acme,"),
    ],
)
def test_what_is_hardly_meant_is_a_warning(tmp_path: Path, text: str, words: str) -> None:
    """What is allowed and yet hardly meant is said."""
    assert [sentence for sentence in warnings_of(tmp_path, text) if words in sentence]


@pytest.mark.parametrize(
    "text",
    [
        "",
        PROXIED + TLS + "[access]\nprivate = true",
        PROXIED + "trusted_proxies = 1\n[access]\nprivate = true",
        '[server]\npublic_url = "http://localhost:9000"',
        '[server]\npublic_url = "http://[::1]:9000/team"',
        CLOSED + GRANT.format("anonymous", "acme-*"),
        BUCKET,
        "[access]\ncookie_login = true",
        (
            PUBLIC
            + TLS
            + CLOSED
            + '[[index]]\nname = "open"\n'
            + GRANT.format("anonymous", "*")
            + 'index = "open"'
        ),
        PUBLIC + TLS + CLOSED,
        UPSTREAM + "i_have_no_private_prefix = true",
        UPSTREAM + 'private = ["acme", "acme-*", "team*"]',
        UPSTREAM + 'private = ["acme-*"]\n[access]\nprivate_names = ["acme"]',
    ],
)
def test_what_is_usual_is_no_warning(tmp_path: Path, text: str) -> None:
    """Of what is usual, nothing is said."""
    assert warnings_of(tmp_path, text) == []


def test_a_password_over_plain_http() -> None:
    """A password for an upstream index that others can read on its way is warned of."""
    text = (
        UPSTREAM.replace("https", "http")
        + 'i_have_no_private_prefix = true\nallow_insecure = true\nusername = "a"'
    )
    environ = {"WHEELYARD_TOML": text, "WHEELYARD_UPSTREAM_PASSWORD": "hunter2"}

    (warning,) = texts_of(warnings_for(load_settings(environ=environ).settings))

    assert "is sent over plain HTTP" in warning
    assert "hunter2" not in warning
