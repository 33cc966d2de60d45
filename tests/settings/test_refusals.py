"""Settings that stop the start, and their error messages."""

from pathlib import Path
from typing import Final

import pytest

from tests.settings.written import as_toml, settings_of
from wheelyard.errors import Invalid
from wheelyard.settings.value_checks import RESERVED_ROOTS

PUBLIC: Final = '[store]\nlocation = "gs://kept"\ndownloads = "public"\n'
TO_HTTP: Final = '[server]\npublic_url = "http://example.com"\n'
COOKIES: Final = "[access]\ncookie_login = true\n"
TOKENS: Final = "[access]\ncredentials_store ="
JOBS: Final = '[trusted_publishing]\naudience = ["a"]\n'
ANY_BUCKET: Final = "store.downloads: everybody may read a whole public bucket, and gs://kept holds"
ANY_SCHEME: Final = "access.cookie_login: a cookie is made for https or for plain http"


def refusal(text: str, folder: Path) -> str:
    """Return why a settings file is refused: one sentence, in words of ours."""
    with pytest.raises(Invalid) as caught:
        settings_of(text, folder)
    message = caught.value.message
    assert not set("\n$`") & set(message)
    return message


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("server.path_prefix", ["/a%2Fb", "/a b"]),
        ("server.public_url", ["https://", "https://[b/x", "https://:443", "https://a.com/?a"]),
        ("server.public_url", ["https://a\nb", "//x.example/y", "ftp://x.example", "x.example"]),
        (
            "server.public_url",
            ["https://x/#f", "http://a:b@x/", "https://x/a b", "https://x:99999"],
        ),
        ("server.host", [""]),
        ("server.roots", [[root] for root in sorted(RESERVED_ROOTS)]),
        ("store.location", ["a\0b", "", "~/packages", "gs:bucket", "GS://bucket", "memory:x"]),
        ("store.files", ["bucket-2"]),
        ("store.downloads", ["a\nb"]),
        ("access.private_names", [["a*b"]]),
        ("access.metrics_token", ["\u00e9"]),
        ("access.htpasswd_may", ["read", ["admin"], ["approve"]]),
        ("google.access_token.indexes", ["dev", ["Dev"], ["a b"]]),
        ("access.htpasswd_file", ["a\0b"]),
        ("access.static_token", ["a-token-in-a-file-of-settings"]),
        ("access.trusted_hosts", [["https://example.com"], [""]]),
        ("access.credentials_store", ["memory:", "ftp://bucket", "gs://B/x", "./wheelyard-data/"]),
        ("telemetry.otlp_endpoint", ["grpc://collector:4317", "http://"]),
        ("log.project", ["acme packages"]),
        ("web.name", [" ", "a\nb"]),
        ("web.accent", ["blue", "#12345"]),
        ("google.id_token.audience", [["a b"]]),
        ("google.id_token.allowed_domains", [["acme.dev"], ["@acme.dev"]]),
        ("google.access_token.resource", ["acme-authorisation", "gs://acme-authorisation/folder"]),
        ("iap.audience", [[""]]),
        ("trusted_publishing.audience", [["1", "2", "3", "4", "5", "6"]]),
        ("trusted_publishing.private_issuers", ["https://a.dev", ["a.dev"], ["ftp://a.dev"]]),
        ("webhooks.allow_private_networks", ["10.0.0.0/8", ["a.dev"], ["10.0.0.1/8"]]),
    ],
)
def test_each_refusal_names_a_setting(tmp_path: Path, setting: str, values: list[object]) -> None:
    """A value that makes no sense stops the start with one sentence that names its setting."""
    section, _, key = setting.rpartition(".")
    for value in values:
        message = refusal(f"[{section}]\n{key} = {as_toml(value)}", tmp_path)
        assert message.startswith(f"{setting}: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server\nport = 1", ""),
        ('[server]\n"a\\nb" = 1', "server: there is no "),
        ("[server]\nport = 70000", "server.port: expected a number from 0 to 65535, and found 70"),
        (
            "[server]\nport = true",
            "server.port: expected a number from 0 to 65535, and found true.",
        ),
        ("[server]\ntrusted_proxies = -1", "server.trusted_proxies: expected a number from 0 to 1"),
        ("[server]\nhost = 5", "server.host: expected an address such as 127.0.0.1, and found 5."),
        ("[access]\nmetrics_token = 5", "access.metrics_token: expected ASCII without spaces."),
        (
            '[access]\nhtpasswd_may = "read"',
            "access.htpasswd_may: expected a list of read, upload ",
        ),
        ('[server]\nroots = "acme"', "server.roots: expected a list of names (a-z, 0-9 and -)"),
        ('[server]\nroots = ["b", "a b"]', "server.roots: expected names (a-z, 0-9 and -)"),
        ('[server]\nroots = ["api"]', "server.roots: expected names (a-z, 0-9 and -) that are no"),
        (
            '[access]\nprivate = "maybe"',
            "access.private: expected true or false, and found 'maybe'.",
        ),
        ('[access]\nprivate = "false"', "access.private: expected true or false, and found 'fal"),
        ("[access]\nprivate = 1", "access.private: expected true or false, and found 1."),
        ("[upstream]\noffline = 0", "upstream.offline: expected true or false, and found 0."),
        (
            '[server]\nport = "18500"',
            "server.port: expected a number from 0 to 65535, and found '1",
        ),
        ("[store]\nfreshness = 2.0", "store.freshness: expected a number from 1 to 60, and found"),
        ("[web]\nname = 2026-01-01", "web.name: expected 1 to 60 characters on one line."),
        (
            '[[upstream.index]]\nurl = "https://a.example"\nlabel = "a"\ngoogle = "true"',
            "upstream.index 1.google: expected true or false",
        ),
        ('[store]\ndownloads = "direct"', "store.downloads: expected auto, redirect, proxy or pub"),
        ("[server]\nprot = 1", "server: there is no 'prot', but host, port, workers,"),
        ("[google.id_token]\naud = 1", "google.id_token: there is no 'aud', but audience,"),
        ("[google]\nid_token = 1", "google.id_token: expected a table, in single brackets."),
        ("sign_in = 5", "sign_in: expected tables, in [[ ]], and found 5."),
        ("[upstream]\nindex = 5", "upstream.index: expected tables, in [[ ]], and found 5."),
        ("[servers]\nport = 1", "there is no 'servers', but server, store, access,"),
        ("port = 80", "there is no 'port', but server, store, access,"),
        (JOBS + '[iap]\naudience = ["a"]', "trusted_publishing.audience: 'a' is the audience of"),
        (JOBS + '[google.id_token]\naudience = ["a"]', "trusted_publishing.audience: 'a' is the"),
        ('[server]\ncertificate = "a.pem"', "server.key: TLS needs a certificate and its key."),
        ('[server]\nkey = "a.pem"', "server.certificate: TLS needs a certificate and its key."),
        (
            TO_HTTP + 'certificate = "a.pem"\nkey = "b.pem"',
            "server.public_url: it begins with http://",
        ),
        (
            TO_HTTP + "trusted_proxies = 1\n[access]\nrequire_https = true",
            "access.require_https: server.public_url begins with http://",
        ),
        (
            '[access]\ntrusted_hosts = ["a.com"]\n[server]\npublic_url = "https://b.com"',
            "access.trusted_hosts: 'b.com' is not among them",
        ),
        (
            '[access]\nanonymous_uploads = true\n[server]\nhost = "0.0.0.0"',
            "access.anonymous_uploads: whoever reaches '0.0.0.0' could publish anything here.",
        ),
        ('[server]\nworkers = 2\n[store]\nlocation = "memory:"', "server.workers: a store in mem"),
        (f'{TOKENS} "kept"\n[store]\nlocation = "memory:"', "access.credentials_store: a store in"),
        (
            f'{TOKENS} "gs://kept/a"\n[store]\nlocation = "gs://kept/a/"',
            "access.credentials_store: it is store.location.",
        ),
        (
            f'{PUBLIC}files = "gs://open"\n{TOKENS} "gs://open/c"',
            "access.credentials_store: everybody may read gs://open",
        ),
        (PUBLIC, ANY_BUCKET),
        (f'{PUBLIC}files = "gs://kept/elsewhere"', ANY_BUCKET),
        ('[store]\ndownloads = "proxy"', "store.downloads: it is for a bucket, and store.locat"),
        (
            '[store]\nlocation = "memory:"\nfiles = "gs://apart/files"',
            "store.files: it is for a bucket, and store.location names none.",
        ),
        (COOKIES + "[server]\nread_only = true", "access.cookie_login: who signs in and out is"),
        (COOKIES + '[server]\nhost = "0.0.0.0"', ANY_SCHEME),
        (COOKIES + "[server]\ntrusted_proxies = 1", ANY_SCHEME),
        (
            COOKIES + '[store]\nlocation = "gs://abc/x"\n'
            '[google.access_token]\nresource = "gs://abc"',
            "access.cookie_login: whoever may read the bucket of google.access_token.resource",
        ),
    ],
)
def test_a_message_says_what_is_wrong_and_right(tmp_path: Path, text: str, words: str) -> None:
    """A message has the section and the key, what is wrong, and what would be right."""
    assert refusal(text, tmp_path).startswith(words)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """All wrong values are told at once, and all contradictions."""
    text = '[server]\nport = "many"\nworkers = 0\n[log]\nformat = "xml"'
    assert refusal(text, tmp_path) == (
        "server.port: expected a number from 0 to 65535, and found 'many'. server.workers: "
        "expected a number from 1 to 64, and found 0. log.format: expected text or json, and "
        "found 'xml'. See https://github.com/wheelyard/wheelyard/blob/main/docs/settings.md."
    )
    text = '[server]\nworkers = 2\nkey = "k"\n[store]\nlocation = "memory:"'
    message = refusal(text, tmp_path)
    assert "server.workers: " in message
    assert "server.certificate: " in message


@pytest.mark.parametrize("url", ["example.com", "example.com/steam2", "x/team2/more", "team2"])
def test_public_url_without_the_prefix(tmp_path: Path, url: str) -> None:
    """A public URL that does not end with the path prefix would be a wrong one to print."""
    message = refusal(f'[server]\npath_prefix = "/team2"\npublic_url = "https://{url}"', tmp_path)

    assert "expected it to end with the path_prefix, '/team2'" in message
