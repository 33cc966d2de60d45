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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", None),
        ('[server]\nhost = "0.0.0.0"', "may read every package"),
        ('[server]\nhost = "0.0.0.0"', "credentials may come over plain HTTP"),
        (PROXIED + TLS + "[access]\nprivate = true", None),
        (PROXIED, "may read every package"),
        (PROXIED.replace("https", "http"), "credentials may come over plain HTTP"),
        (PROXIED + "[access]\nanonymous_uploads = true", "may publish under any name"),
        (PROXIED + "trusted_proxies = 1\n[access]\nprivate = true", None),
        ("[server]\ntrusted_proxies = 1", "may read every package"),
        ('[server]\npublic_url = "http://localhost:9000"', None),
        ('[server]\npublic_url = "http://[::1]:9000/team"', None),
        (
            CLOSED
            + '[google.id_token]\naudience = ["a"]\n'
            + GRANT.format("allAuthenticated", "*"),
            "every Google account there is",
        ),
        (CLOSED + GRANT.format("anonymous", "acme-*"), None),
        (PUBLIC + CLOSED + GRANT.format("anonymous", "*"), "may read every package"),
        (BUCKET, None),
        (
            BUCKET + CLOSED + GRANT.format("anonymous", "*"),
            "tokens lie in the bucket of the packages",
        ),
        (BUCKET + '[access]\ncredentials_store = "gs://acme/c"', "IAM condition"),
        (BUCKET + "[access]\ncookie_login = true", "the keys of sessions lie in the bucket"),
        ("[access]\ncookie_login = true", None),
        (
            BUCKET + 'downloads = "public"\nfiles = "gs://open"\n[access]\nprivate = true',
            "knows the URL",
        ),
        (
            PUBLIC
            + TLS
            + CLOSED
            + '[[index]]\nname = "open"\n'
            + GRANT.format("anonymous", "*")
            + 'index = "open"',
            None,
        ),
        (PUBLIC + TLS + CLOSED, None),
        (
            '[google.access_token]\nresource = "gs://acme"',
            "reading is open to everybody all the same",
        ),
        (UPSTREAM + 'private = ["acme"]\nshadow = ["*"]', "every public name can be taken over"),
        (UPSTREAM, "no name is said to be private"),
        (UPSTREAM + "i_have_no_private_prefix = true", None),
        (UPSTREAM + 'private = ["Acme_*"]', "acme-* in upstream.private does not match acme,"),
        (UPSTREAM + 'private = ["acme", "acme-*", "team*"]', None),
        (UPSTREAM + 'private = ["acme-*"]\n[access]\nprivate_names = ["acme"]', None),
    ],
)
def test_what_is_hardly_meant_is_a_warning(tmp_path: Path, text: str, words: str | None) -> None:
    """What is allowed and yet hardly meant is said, and what is usual is not."""
    of_process, of_index = split(text)
    settings = settings_of(of_process, tmp_path)
    index = IndexHarness(tmp_path).opened(3, settings=settings, tables=of_index)
    warnings = texts_of([*warnings_for(settings), *index_warnings(index)])

    if words is None:
        assert warnings == []
    else:
        assert [sentence for sentence in warnings if words in sentence]


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
