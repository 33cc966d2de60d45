"""Settings that are valid but probably unintended: the warnings at the start."""

from pathlib import Path

import pytest

from tests.settings.written import GRANT, settings_of
from wheelyard.settings.warnings import warnings_for

PROXIED = '[server]\npublic_url = "https://packages.example.com"\n'
BUCKET = '[store]\nlocation = "gs://acme"\n'
TLS = 'certificate = "a.pem"\nkey = "b.pem"\n'
UPSTREAM = '[upstream]\nenabled = true\nurl = "https://index.example.com/simple/"\n'
PUBLIC = '[server]\nhost = "192.0.2.1"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", None),
        ('[server]\nhost = "0.0.0.0"', "may read every package"),
        ('[server]\nhost = "0.0.0.0"', "credentials may come over plain HTTP"),
        ("[access]\nrequire_https = true", "no proxy is trusted"),
        (PUBLIC + TLS + "[access]\nrequire_https = true\nprivate = true", None),
        (PROXIED + TLS + "[access]\nprivate = true", None),
        (PROXIED, "everybody shares one limit"),
        (PROXIED, "may read every package"),
        (PROXIED.replace("https", "http"), "credentials may come over plain HTTP"),
        (PROXIED + "[access]\nanonymous_uploads = true", "may publish under any name"),
        (PROXIED + "trusted_proxies = 1\n[access]\nprivate = true", None),
        ("[server]\ntrusted_proxies = 1", "may read every package"),
        ('[server]\npublic_url = "http://localhost:9000"', None),
        ('[server]\npublic_url = "http://[::1]:9000/team"', None),
        (
            '[google.id_token]\naudience = ["a"]\n' + GRANT.format("allAuthenticated", "*"),
            "every Google account there is",
        ),
        (GRANT.format("token:0123456789", "acme-*"), "private_names is empty"),
        (GRANT.format("anonymous", "acme-*"), None),
        (PUBLIC + GRANT.format("anonymous", "*"), "may read every package"),
        (GRANT.format("user:ana@acme.dev", "*"), "audience is not set"),
        (GRANT.format("htpasswd:ana", "*"), "there is no [access] htpasswd_file"),
        (GRANT.format("publisher:core", "*"), "and no more"),
        (BUCKET, None),
        (BUCKET + GRANT.format("anonymous", "*"), "tokens lie in the bucket of the packages"),
        (BUCKET + '[access]\ncredentials_store = "gs://acme/c"', "IAM condition"),
        (BUCKET + "[access]\ncookie_login = true", "the key of sessions lies in the bucket"),
        ("[access]\ncookie_login = true", None),
        (BUCKET + '[google.access_token]\nresource = "gs://acme"', "for reading only"),
        ('[trusted_publishing]\naudience = ["a"]', "there is no [[publisher]]"),
        ("[access]\nanonymous_uploads = true", None),
        ("[store]\nfreshness = 5", "[store] freshness counts for nothing: nothing is kept"),
        ("[store]\nstale_if_error = 5", "[store] stale_if_error counts for nothing"),
        ("[store]\nsigned_url_minutes = 5", "[store] location is no bucket"),
        (BUCKET + 'downloads = "proxy"\nsigned_url_minutes = 5', "no URL is signed"),
        (BUCKET + "signed_url_minutes = 5\nfreshness = 5\nstale_if_error = 5", None),
        ('[store]\nfreshness = 5\n[access]\ncredentials_store = "gs://acme"', None),
        ('[access]\nprivate_names = ["a"]', "[access] private_names counts for nothing"),
        ('[access]\nprivate = true\nprivate_names = ["a"]', None),
        (
            UPSTREAM.replace("enabled = true", ""),
            "[upstream] url counts for nothing: [upstream] enabled is not set",
        ),
        (
            UPSTREAM + 'private = ["acme"]\nallow = ["a"]\nmode = "open"',
            "[upstream] allow counts for nothing",
        ),
        (UPSTREAM + 'private = ["Acme_*"]', "acme-* in [upstream] private does not match acme,"),
        (UPSTREAM + 'private = ["acme", "acme-*", "team*"]', None),
        (UPSTREAM + 'private = ["acme-*"]\n[access]\nprivate_names = ["acme"]', None),
        ("[http]\npublic_max_age = 60\n[access]\nprivate = true", "no page that anyone may read"),
        ("[http]\npublic_max_age = 60\n" + GRANT.format("anonymous", "acme-*"), None),
        ("[http]\npublic_max_age = 60", None),
        ("[access]\nhtpasswd_may_manage = true", "[access] htpasswd_file is not set"),
        ('[access]\nhtpasswd_may_manage = true\nhtpasswd_file = "users"', None),
        ("[access]\nanonymous_uploads_anywhere = true", "anonymous_uploads is not set"),
        ("[google]\nallow_private = true", "no credential of Google's is taken"),
        ("[google.access_token]\ncache_seconds = 5", "resource is not set"),
        ("[trusted_publishing]\ntoken_seconds = 901", "token_seconds counts for nothing"),
        ('[google]\nallow_private = true\n[iap]\naudience = ["a"]', None),
    ],
)
def test_advice(tmp_path: Path, text: str, words: str | None) -> None:
    """What is allowed and yet hardly meant is said, and what is usual is not."""
    advice = warnings_for(settings_of(text, tmp_path))

    if words is None:
        assert advice == []
    else:
        assert [sentence for sentence in advice if words in sentence]


def test_passwords_beside_grants(tmp_path: Path) -> None:
    """Names in the htpasswd file may manage by a grant, and by nothing else where there is one."""
    text = '[access]\nhtpasswd_file = "users"\nhtpasswd_may_manage = true\n'

    advice = warnings_for(settings_of(text + GRANT.format("htpasswd:ana", "*"), tmp_path))

    assert [each for each in advice if "there is a [[grant]]; name the users there" in each]
