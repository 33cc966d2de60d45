"""Settings that stop the start, and their error messages."""

from pathlib import Path

import pytest

from tests.settings.written import GRANT, PUBLISHER, settings_of
from wheelyard.errors import Invalid
from wheelyard.settings.value_checks import RESERVED_ROOTS

PUBLIC = '[store]\nlocation = "gs://kept"\nfiles = "gs://open"\ndownloads = "public"\n'

KEY_BESIDE_PACKAGES = (
    '[store]\nlocation = "gs://abc/x"\n[access]\ncookie_login = true\n'
    '[google.access_token]\nresource = "gs://abc"'
)
PLAIN = (
    '[server]\npublic_url = "http://packages.example.com"\ntrusted_proxies = 1\n'
    "[access]\nrequire_https = true"
)


@pytest.mark.parametrize(
    "text",
    [
        '[server]\npath_prefix = "/a%2Fb"',
        '[server]\npath_prefix = "/a b"',
        "[access]\nprivate = true\n" + GRANT.format("anonymous", "*"),
        '[server]\npublic_url = "https://"',
        '[server]\npublic_url = "https://[b/x"',
        '[server]\npublic_url = "https://:443"',
        '[server]\npublic_url = "https://example.com/?a"',
        '[server]\npublic_url = "https://a\\nb"',
        '[server]\nhost = ""',
        '[server]\ncertificate = "a.pem"',
        '[server]\nkey = "a.pem"',
        '[server]\ncertificate = "a.pem"\nkey = "b.pem"\npublic_url = "http://example.com"',
        '[server]\n"a\\nb" = 1',
        '[store]\nlocation = "a\\u0000b"',
        '[store]\nlocation = ""',
        '[store]\nlocation = "~/packages"',
        '[store]\nlocation = "gs:bucket"',
        '[store]\nlocation = "GS://bucket"',
        '[store]\nlocation = "gs://bucket"\nfiles = "bucket-2"',
        '[store]\ndownloads = "a\\nb"',
        '[access]\nprivate_names = ["a*b"]',
        '[access]\nmetrics_token = "\u00e9"',
        "[server\nport = 1",
        '[access]\nhtpasswd_file = "a\\u0000b"',
        '[access]\nstatic_token = "a-token-in-a-file-of-settings"',
        '[access]\ntrusted_hosts = ["https://example.com"]',
        '[access]\ntrusted_hosts = [""]',
        '[access]\ntrusted_hosts = ["a.com"]\n[server]\npublic_url = "https://b.com"',
        '[access]\ncredentials_store = "memory:"',
        '[access]\ncredentials_store = "ftp://bucket"',
        '[access]\ncredentials_store = "gs://B/x"',
        '[access]\ncredentials_store = "./wheelyard-data/"',
        '[access]\ncredentials_store = "kept"\n[store]\nlocation = "memory:"',
        '[access]\ncredentials_store = "gs://kept/a"\n[store]\nlocation = "gs://kept/a/"',
        f'{PUBLIC}[access]\ncredentials_store = "gs://open/c"',
        '[access]\nanonymous_uploads = true\n[server]\nhost = "0.0.0.0"',
        PLAIN,
        '[server]\nworkers = 2\n[store]\nlocation = "memory:"',
        '[telemetry]\notlp_endpoint = "grpc://collector:4317"',
        '[telemetry]\notlp_endpoint = "http://"',
        '[log]\nproject = "acme packages"',
        '[web]\nname = " "',
        '[web]\nname = "a\\nb"',
        '[web]\naccent = "blue"',
        '[web]\naccent = "#12345"',
        '[google.id_token]\naudience = ["a b"]',
        '[google.id_token]\nallowed_domains = ["acme.dev"]',
        '[google.id_token]\naudience = ["a"]\nallowed_domains = ["@acme.dev"]',
        '[google.access_token]\nresource = "acme-authorisation"',
        '[google.access_token]\nresource = "gs://acme-authorisation/folder"',
        '[iap]\naudience = [""]',
        '[trusted_publishing]\naudience = ["1", "2", "3", "4", "5", "6"]',
        '[trusted_publishing]\naudience = ["a"]\n[iap]\naudience = ["a"]',
        '[[grant]]\nwho = ["ana"]\nprojects = ["*"]\nactions = ["read"]',
        '[groups]\nteam = "htpasswd:ana"',
        "[groups]\nteam = [1]",
        '[groups]\nteam = ["ana"]',
        '[groups]\nteam = ["group:team"]',
        '[groups]\nteam = ["anonymous"]',
        '[groups]\nteam = ["group:team@acme.dev"]',
        '[groups]\n"the team" = []',
        GRANT.format("group:team", "*"),
        GRANT.format("group:Team", "*") + "[groups]\nteam = []",
        '[[publisher]]\nid = "x"',
        PUBLISHER,
    ],
)
def test_nonsense(tmp_path: Path, text: str) -> None:
    """An unknown key, or a value that makes no sense, stops the start with one sentence."""
    with pytest.raises(Invalid) as caught:
        settings_of(text, tmp_path)

    assert "\n" not in caught.value.message
    assert "$" not in caught.value.message
    assert "`" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[server]\nport = 70000",
            "server.port: expected a number from 0 to 65535, and found 70000.",
        ),
        (
            "[server]\nport = true",
            "server.port: expected a number from 0 to 65535, and found true.",
        ),
        (
            "[server]\ntrusted_proxies = -1",
            "server.trusted_proxies: expected a number from 0 to 1000000000, and found -1.",
        ),
        ("[server]\nhost = 5", "server.host: expected an address such as 127.0.0.1, and found 5."),
        ("[access]\nmetrics_token = 5", "access.metrics_token: expected ASCII without spaces."),
        ('[server]\nroots = "acme"', "server.roots: expected a list of names (a-z, 0-9 and -)"),
        ('[server]\nroots = ["b", "a b"]', "server.roots: expected names (a-z, 0-9 and -)"),
        (
            '[access]\nprivate = "maybe"',
            "access.private: expected true or false, and found 'maybe'.",
        ),
        (
            '[store]\ndownloads = "direct"',
            "store.downloads: expected auto, redirect, proxy or public, and found 'direct'.",
        ),
        ("[server]\nprot = 1", "server: there is no 'prot', but host, port, workers,"),
        ("[google.id_token]\naud = 1", "google.id_token: there is no 'aud', but audience,"),
        ("[google]\nid_token = 1", "google.id_token: expected a table, in single brackets."),
        ("grant = [1]", "grant: expected a table, and found 1."),
        ("[grant]", "grant: expected tables, in [[ ]]."),
        ("[[groups]]\nteam = []", "groups: expected a table."),
        ("[servers]\nport = 1", "there is no 'servers', but server, store, access,"),
        ("port = 80", "there is no 'port', but server, store, access,"),
        (
            '[trusted_publishing]\naudience = ["a"]\n[google.id_token]\naudience = ["a"]',
            "trusted_publishing.audience: 'a' is the audience of google.id_token or iap",
        ),
        (
            '[store]\nlocation = "gs://kept/index"\ndownloads = "public"',
            "store.downloads: everybody may read a whole public bucket, and gs://kept holds",
        ),
        (
            '[store]\nlocation = "gs://kept"\ndownloads = "public"\nfiles = "gs://kept/elsewhere"',
            "store.downloads: everybody may read a whole public bucket, and gs://kept holds",
        ),
        (
            '[store]\ndownloads = "proxy"',
            "store.downloads: it is for a bucket, and store.location names none.",
        ),
        (
            '[store]\nlocation = "memory:"\nfiles = "gs://apart/files"',
            "store.files: it is for a bucket, and store.location names none.",
        ),
        (
            "[access]\ncookie_login = true\n[server]\nread_only = true",
            "access.cookie_login: who signs in and out is written to the store",
        ),
        (
            '[access]\ncookie_login = true\n[server]\nhost = "0.0.0.0"',
            "access.cookie_login: a cookie is made for https or for plain http",
        ),
        (
            "[access]\ncookie_login = true\n[server]\ntrusted_proxies = 1",
            "access.cookie_login: a cookie is made for https or for plain http",
        ),
        (
            KEY_BESIDE_PACKAGES,
            "access.cookie_login: whoever may read the bucket of google.access_token.resource",
        ),
    ],
)
def test_words(tmp_path: Path, text: str, words: str) -> None:
    """A message has the section and the key, what is wrong, and what would be right."""
    with pytest.raises(Invalid) as caught:
        settings_of(text, tmp_path)

    assert caught.value.message.startswith(words)


def test_several_problems(tmp_path: Path) -> None:
    """All wrong values are told at once, and all contradictions."""
    with pytest.raises(Invalid) as caught:
        settings_of('[server]\nport = "many"\nworkers = 0\n[log]\nformat = "xml"', tmp_path)
    assert caught.value.message == (
        "server.port: expected a number from 0 to 65535, and found 'many'. server.workers: "
        "expected a number from 1 to 64, and found 0. log.format: expected text or json, and "
        "found 'xml'. See docs/settings.md."
    )

    with pytest.raises(Invalid, match=r"server\.workers: .*server\.certificate: "):
        settings_of('[server]\nworkers = 2\nkey = "k"\n[store]\nlocation = "memory:"', tmp_path)


@pytest.mark.parametrize("root", sorted(RESERVED_ROOTS))
def test_roots_that_are_paths_already(tmp_path: Path, root: str) -> None:
    """No root can be called like something that the index has already."""
    with pytest.raises(Invalid, match=f"are no path here, and found '{root}'"):
        settings_of(f'[server]\nroots = ["{root}"]', tmp_path)


@pytest.mark.parametrize("url", ["example.com", "example.com/steam2", "x/team2/more", "team2"])
def test_public_url_without_the_prefix(tmp_path: Path, url: str) -> None:
    """A public URL that does not end with the path prefix would be a wrong one to print."""
    text = f'[server]\npath_prefix = "/team2"\npublic_url = "https://{url}"'
    with pytest.raises(Invalid, match="expected it to end with the path_prefix, 'team2'"):
        settings_of(text, tmp_path)
