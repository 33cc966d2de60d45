"""Where settings come from, and which of them stop the start."""

import re
from pathlib import Path

import pytest

from wheelyard.errors import Invalid
from wheelyard.settings.advice import advice_on
from wheelyard.settings.checks import FIXED_PATHS
from wheelyard.settings.reading import read_settings, unknown_variables
from wheelyard.settings.sections import ServerSettings, Settings

PUBLIC = '[store]\nlocation = "gs://kept"\nfiles = "gs://open"\ndownloads = "public"\n'
PUBLISHER = """
[[publisher]]
id = "core"
provider = "gitlab"
projects = ["acme-core"]
project_path = "acme/core"
project_id = 1
namespace_id = 2
"""


def settings_of(text: str, folder: Path) -> Settings:
    """Return the settings of a file with `text` in it."""
    file = folder / "wheelyard.toml"
    file.write_text(text)
    return read_settings(file=file, overrides={}, environ={})


def test_defaults() -> None:
    """Without any configuration the index is on loopback, open to readers, in one folder."""
    settings = read_settings(file=None, overrides={}, environ={})

    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.store.location == "./wheelyard-data"
    assert not settings.access.private
    assert settings.index_url == "http://127.0.0.1:8080/simple/"


def test_order(tmp_path: Path) -> None:
    """The command line beats the environment, which beats the file."""
    file = tmp_path / "wheelyard.toml"
    file.write_text('[server]\nport = 1\nhost = "a"\nworkers = 2\n')
    environ = {"WHEELYARD_PORT": "3", "PORT": "9", "WHEELYARD_HOST": "b"}
    overrides = {"server": {"port": 4, "host": None}}

    server = read_settings(file=file, overrides=overrides, environ=environ).server

    assert (server.port, server.host, server.workers) == (4, "b", 2)


def test_port_of_the_platform() -> None:
    """`$PORT` sets the port, and leaves the host as it is."""
    server = read_settings(file=None, overrides={}, environ={"PORT": "3333"}).server

    assert (server.host, server.port) == ("127.0.0.1", 3333)


@pytest.mark.parametrize(
    "text",
    [
        "[server]\nprot = 1",
        "[servers]\nport = 1",
        "[server]\nport = 70000",
        '[server]\nport = "many"',
        '[server]\nroots = ["Acme"]',
        '[server]\nroots = ["simple"]',
        '[server]\npath_prefix = "/a/../b"',
        '[server]\npublic_url = "packages.example.com"',
        '[server]\npublic_url = "https://"',
        '[server]\npublic_url = "https://[b/x"',
        '[server]\npublic_url = "https://:443"',
        '[server]\npublic_url = "https://example.com/?a"',
        '[server]\npublic_url = "https://a\\nb"',
        '[server]\nhost = ""',
        '[server]\n"a\\nb" = 1',
        '[store]\nlocation = "a\\u0000b"',
        "server = 5",
        "port = 80",
        '[store]\nlocation = ""',
        '[store]\nlocation = "gs://B/x"',
        '[store]\nlocation = "gs:bucket"',
        '[store]\nlocation = "GS://bucket"',
        '[store]\nlocation = "gs://bucket"\nfiles = "bucket-2"',
        '[store]\ndownloads = "a\\nb"',
        "[store]\nfreshness = 0",
        "[store]\nsigned_url_minutes = 1",
        "[store]\nstale_if_error = -1",
        '[access]\nprivate_names = ["a*b"]',
        '[access]\nmetrics_token = "a b"',
        '[access]\nmetrics_token = "\u00e9"',
        "[server\nport = 1",
        '[access]\nhtpasswd_file = "a\\u0000b"',
        '[access]\nstatic_token = "a-token-in-a-file-of-settings"',
        "[access]\nfailed_login_per_minute = 0",
        '[access]\ntrusted_hosts = ["https://example.com"]',
        '[access]\ntrusted_hosts = ["a b"]',
        '[access]\ntrusted_hosts = [""]',
        '[access]\ntrusted_hosts = ["a.com"]\n[server]\npublic_url = "https://b.com"',
        '[access]\ntrusted_hosts = ["a.com:1"]\n[server]\npublic_url = "https://a.com:99999/x"',
        '[access]\ntrusted_hosts = ["a.com"]\n[server]\npublic_url = "https://[b/x"',
        '[access]\ncredentials_store = "memory:"',
        '[access]\ncredentials_store = "s3://bucket"',
        '[access]\ncredentials_store = "gs://B/x"',
        '[access]\ncredentials_store = "./wheelyard-data/"',
        '[access]\ncredentials_store = "kept"\n[store]\nlocation = "memory:"',
        '[access]\ncredentials_store = "gs://kept/a"\n[store]\nlocation = "gs://kept/a/"',
        f'{PUBLIC}[access]\ncredentials_store = "gs://open/c"',
        '[access]\nanonymous_uploads = true\n[server]\nhost = "0.0.0.0"',
        '[google]\nid_tokens = "a"',
        "[google.id_token]\naudience = 5",
        '[google.id_token]\naudience = ["a b"]',
        '[google.id_token]\nallowed_domains = ["acme.dev"]',
        '[google.id_token]\naudience = ["a"]\nallowed_domains = ["@acme.dev"]',
        '[google.id_token]\nkeys_url = "http://127.0.0.1/keys"',
        '[google.id_token]\nkeys_url = "file:///keys"',
        '[google.access_token]\nresource = "acme-authorisation"',
        '[google.access_token]\nresource = "gs://acme-authorisation/folder"',
        "[google.access_token]\ncache_seconds = 301",
        '[iap]\naudience = [""]',
        '[trusted_publishing]\naudience = ["1", "2", "3", "4", "5", "6"]',
        '[trusted_publishing]\naudience = ["a"]\n[google.id_token]\naudience = ["b", "a"]',
        '[trusted_publishing]\naudience = ["a"]\n[iap]\naudience = ["a"]',
        '[[grant]]\nwho = ["ana"]\nprojects = ["*"]\nactions = ["read"]',
        '[grant]\nwho = ["anonymous"]',
        'grant = "all"',
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
            "[server] port: expected a number from 0 to 65535, and found 70000.",
        ),
        ("[server]\nworkers = 0", "[server] workers: expected a number from 1 to 64, and found 0."),
        (
            "[server]\nworkers = 65",
            "[server] workers: expected a number from 1 to 64, and found 65.",
        ),
        (
            '[server]\nport = "many"',
            "[server] port: expected a number from 0 to 65535, and found 'many'.",
        ),
        (
            "[server]\nport = true",
            "[server] port: expected a number from 0 to 65535, and found true.",
        ),
        (
            "[server]\ntrusted_proxies = -1",
            "[server] trusted_proxies: expected a number from 0, and found -1.",
        ),
        ("[server]\nhost = 5", "[server] host: expected text, and found 5."),
        ("[access]\nmetrics_token = 5", "[access] metrics_token: expected text."),
        ('[server]\nroots = "acme"', "[server] roots: expected a list of texts, and found 'acme'."),
        ("[server]\nroots = [1]", "[server] roots: expected a list of texts."),
        ('[server]\nroots = ["a b"]', "[server] roots: 'a b' cannot be one. Write a-z, 0-9 and -"),
        ('[server]\nroots = ["Acme"]', "[server] roots: 'Acme' is to be written 'acme'."),
        ('[server]\npath_prefix = "a/../b"', "[server] path_prefix: 'a/../b' is none. Write what"),
        (
            '[server]\npublic_url = "acme.dev"',
            "[server] public_url: 'acme.dev' is none. Write a URL",
        ),
        (
            '[access]\nprivate = "maybe"',
            "[access] private: expected true or false, and found 'maybe'.",
        ),
        (
            "[store]\nfreshness = 61",
            "[store] freshness: expected a number from 1 to 60, and found 61.",
        ),
        (
            '[store]\ndownloads = "direct"',
            "[store] downloads: expected auto, redirect, proxy or public, and found 'direct'.",
        ),
        (
            "[store]\ndownloads = 5",
            "[store] downloads: expected auto, redirect, proxy or public, and found 5.",
        ),
        (
            '[store]\nlocation = "gs://Bucket"',
            "[store] location: 'gs://Bucket' is no place in a bucket. Write gs://BUCKET or gs://",
        ),
        ("[server]\nprot = 1", "[server] has no setting 'prot'. It has host, port, workers,"),
        ("[google.id_token]\naud = 1", "[google.id_token] has no setting 'aud'. It has audience,"),
        (
            "[google.id_token]\naudience = 1",
            "[google.id_token] audience: expected a list of texts, and found 1.",
        ),
        (
            "[google.id_token]\naudience = [1]",
            "[google.id_token] audience: expected a list of texts.",
        ),
        ("[google]\nid_token = 1", "[google.id_token]: expected a table."),
        (
            "[google.access_token]\ncache_seconds = 301",
            "[google.access_token] cache_seconds: expected a number from 0 to 300, and found 301.",
        ),
        ("grant = [1]", "[[grant]]: expected a table."),
        ("[grant]", "'grant' is written in double brackets, [[grant]]."),
        (
            '[trusted_publishing]\naudience = ["a"]\n[google.id_token]\naudience = ["a"]',
            "[trusted_publishing] audience: 'a' is in [google.id_token] audience as well",
        ),
        ("[servers]\nport = 1", "there is no section 'servers'. The sections are [server], "),
        ("port = 80", "'port' stands in no section. Write it below [server]."),
        ("server = 5", "'server' is a section, and is written in brackets, [server]."),
        ("nothing = 5", "'nothing' stands in no section. These are [server], "),
    ],
)
def test_words(tmp_path: Path, text: str, words: str) -> None:
    """A wrong setting is said in the words of the file: its section, its name, what is expected."""
    with pytest.raises(Invalid) as caught:
        settings_of(text, tmp_path)

    assert caught.value.message.startswith(f"A setting is wrong: {words}")
    # where the value is what is wrong, a list of all sections is of no use
    assert ("[[publisher]]" in caught.value.message) == ("[server], " in words)


@pytest.mark.parametrize("location", ["./folder", "memory:", "/gs:/bucket"])
@pytest.mark.parametrize("line", ['downloads = "proxy"', 'files = "gs://apart/files"'])
def test_bucket_settings_without_a_bucket(tmp_path: Path, location: str, line: str) -> None:
    """What only a bucket can do stops the start where the store is none."""
    words = f"[store] {line.partition(' ')[0]} is for a bucket, and [store] location names none."
    with pytest.raises(Invalid, match=re.escape(words)):
        settings_of(f'[store]\nlocation = "{location}"\n{line}', tmp_path)


@pytest.mark.parametrize("files", ["", 'files = "gs://kept/elsewhere"'])
def test_public_downloads_need_a_bucket_of_their_own(tmp_path: Path, files: str) -> None:
    """A bucket that everybody may read must not be the one with the credentials in it."""
    text = f'[store]\nlocation = "gs://kept/index"\ndownloads = "public"\n{files}'
    with pytest.raises(Invalid, match="kept holds credentials and the journal as well"):
        settings_of(text, tmp_path)


def test_bucket(tmp_path: Path) -> None:
    """A bucket can be named with a prefix, with files apart, and with a way of downloading them."""
    text = 'location = "gs://kept/index/"\nfiles = "gs://open"\ndownloads = "public"'

    store = settings_of(f"[store]\n{text}", tmp_path).store

    assert (store.location, store.files, store.downloads) == (
        "gs://kept/index/",
        "gs://open",
        "public",
    )


def test_metrics_token_is_not_shown() -> None:
    """Whoever prints the settings does not print the token of the metrics."""
    environ = {"WHEELYARD_METRICS_TOKEN": "open-sesame"}

    settings = read_settings(file=None, overrides={}, environ=environ)

    assert settings.access.metrics_token == "open-sesame"
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - what is being tested
        ("::", False),
        ("192.0.2.1", False),
        ("example.com", False),
    ],
)
def test_loopback(host: str, *, is_loopback: bool) -> None:
    """Only an address of the machine itself counts as one that nobody else can reach."""
    assert ServerSettings(host=host).is_loopback is is_loopback


def test_empty_variables() -> None:
    """A variable that is there and empty is as good as none."""
    names = ("PORT", "HOST", "WORKERS", "STORE", "PRIVATE", "PUBLIC_URL", "PATH_PREFIX", "CONFIG")
    of_buckets = ("FILES", "DOWNLOADS", "METRICS_TOKEN")
    of_access = ("TRUSTED_HOSTS", "HTPASSWD_FILE", "ID_TOKEN_AUDIENCE", "CREDENTIALS_STORE")
    every = (*names, *of_buckets, *of_access)
    environ = {"PORT": "", **{f"WHEELYARD_{name}": "" for name in every}}

    assert read_settings(file=None, overrides={}, environ=environ) == Settings()
    environ["PORT"] = "3333"
    assert read_settings(file=None, overrides={}, environ=environ).server.port == 3333


@pytest.mark.parametrize("root", sorted(FIXED_PATHS))
def test_roots_that_are_paths_already(tmp_path: Path, root: str) -> None:
    """No root can be called like something that the index has already."""
    with pytest.raises(Invalid, match=f"'{root}' is a path of the index"):
        settings_of(f'[server]\nroots = ["{root}"]', tmp_path)


@pytest.mark.parametrize("path", ["", "/", "/team", "/steam2", "/team2/more"])
def test_public_url_without_the_prefix(tmp_path: Path, path: str) -> None:
    """A public URL that does not end with the path prefix would be a wrong one to print."""
    text = f'[server]\npath_prefix = "/team2"\npublic_url = "https://example.com{path}"'
    with pytest.raises(Invalid, match="expected it to end with the path_prefix, '/team2'"):
        settings_of(text, tmp_path)


def test_public_url_with_more_than_the_prefix(tmp_path: Path) -> None:
    """A proxy may put more before the path than it passes on."""
    text = '[server]\npath_prefix = "team"\npublic_url = "https://example.com/a/team/"'

    assert settings_of(text, tmp_path).base_url == "https://example.com/a/team"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - what is being tested
def test_urls_for_every_address(host: str) -> None:
    """A server on every address of the machine prints one of them in its URLs."""
    settings = Settings(server=ServerSettings(host=host))

    assert settings.index_url == "http://127.0.0.1:8080/simple/"


def test_a_named_file_is_there(tmp_path: Path) -> None:
    """A file that was asked for by name has to be there."""
    with pytest.raises(Invalid):
        read_settings(file=tmp_path / "none.toml", overrides={}, environ={})


def test_prefix_and_public_url(tmp_path: Path) -> None:
    """The install commands name the public URL where there is one."""
    text = '[server]\npath_prefix = "packages/"\npublic_url = "https://example.com/packages/"'

    settings = settings_of(text, tmp_path)

    assert settings.server.path_prefix == "/packages"
    assert settings.index_url == "https://example.com/packages/simple/"


def test_typing_errors_in_variables() -> None:
    """A `WHEELYARD_` variable that is no setting is found out."""
    assert unknown_variables({"WHEELYARD_STOER": "x", "WHEELYARD_STORE": "y"}) == [
        "WHEELYARD_STOER"
    ]


def test_a_container(tmp_path: Path) -> None:
    """What a container needs it can have from its environment, lists with commas."""
    (tmp_path / "wheelyard.toml").write_text('[google.id_token]\nallowed_domains = ["old.dev"]\n')
    environ = {
        "WHEELYARD_CONFIG": str(tmp_path / "wheelyard.toml"),
        "WHEELYARD_TRUSTED_HOSTS": "packages.example.com, packages.internal:8080,",
        "WHEELYARD_TRUSTED_PROXIES": "1",
        "WHEELYARD_REQUIRE_HTTPS": "true",
        "WHEELYARD_CREDENTIALS_STORE": "gs://acme-credentials",
        "WHEELYARD_HTPASSWD_FILE": "users",
        "WHEELYARD_ID_TOKEN_AUDIENCE": "https://packages.example.com",
        "WHEELYARD_ALLOWED_DOMAINS": "acme.dev",
        "WHEELYARD_ACCESS_TOKEN_RESOURCE": "gs://acme-authorisation",
        "WHEELYARD_STATIC_TOKEN": "as-secret-manager-mounts-it",
    }

    settings = read_settings(file=None, overrides={}, environ=environ)

    assert settings.access.trusted_hosts == ("packages.example.com", "packages.internal:8080")
    assert settings.access.require_https
    assert settings.server.trusted_proxies == 1
    assert settings.access.htpasswd_file == "users"
    assert settings.google.id_token.audience == ("https://packages.example.com",)
    assert settings.google.id_token.allowed_domains == ("acme.dev",)
    assert settings.google.access_token.resource == "gs://acme-authorisation"
    assert "mounts" not in repr(settings)


def test_files_beside_the_file(tmp_path: Path) -> None:
    """A file that the settings name is looked for beside them, one on the command line is not."""
    text = '[access]\nhtpasswd_file = "users"\nstatic_tokens_file = "/etc/tokens.toml"'
    access = settings_of(text, tmp_path).access
    assert access.htpasswd_file == str(tmp_path / "users")
    assert access.static_tokens_file == "/etc/tokens.toml"

    file, overrides = tmp_path / "wheelyard.toml", {"access": {"htpasswd_file": "users"}}
    settings = read_settings(file=file, overrides=overrides, environ={})

    assert settings.access.htpasswd_file == "users"


def test_defaults_of_a_command(tmp_path: Path) -> None:
    """What a command has for defaults is beaten by the file, and by everything that beats it."""
    file = tmp_path / "wheelyard.toml"
    file.write_text("[server]\nport = 1\n")
    defaults = {"server": {"port": 2, "host": "::1"}}

    server = read_settings(file=file, overrides={}, environ={}, defaults=defaults).server

    assert (server.port, server.host) == (1, "::1")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - what is being tested
def test_uploads_by_anybody(tmp_path: Path, host: str) -> None:
    """Anybody may publish on this machine, and beyond it where that is said a second time."""
    more = "" if host == "127.0.0.1" else "anonymous_uploads_anywhere = true\n"
    text = f'[access]\nanonymous_uploads = true\n{more}[server]\nhost = "{host}"'

    assert settings_of(text, tmp_path).access.anonymous_uploads


PROXIED = '[server]\npublic_url = "https://packages.example.com"\n'
BUCKET = '[store]\nlocation = "gs://acme"\n'
PUBLIC = '[server]\nhost = "192.0.2.1"\n'
GRANT = '[[grant]]\nwho = ["{}"]\nprojects = ["{}"]\nactions = ["read"]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", None),
        ('[server]\nhost = "0.0.0.0"', "may read every package"),
        ('[server]\nhost = "0.0.0.0"', "credentials may come over plain HTTP"),
        ("[access]\nrequire_https = true", "no proxy is trusted"),
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
        (PUBLIC + "[access]\nprivate = true\n" + GRANT.format("anonymous", "*"), "may read every"),
        (GRANT.format("user:ana@acme.dev", "*"), "audience is not set"),
        (GRANT.format("htpasswd:ana", "*"), "there is no [access] htpasswd_file"),
        (GRANT.format("publisher:core", "*"), "and no more"),
        (BUCKET, None),
        (BUCKET + GRANT.format("anonymous", "*"), "tokens lie in the bucket of the packages"),
        (BUCKET + '[access]\ncredentials_store = "gs://acme/c"', "IAM condition"),
        (BUCKET + '[google.access_token]\nresource = "gs://acme"', "for reading only"),
        ('[trusted_publishing]\naudience = ["a"]', "there is no [[publisher]]"),
        ("[access]\nanonymous_uploads = true", None),
    ],
)
def test_advice(tmp_path: Path, text: str, words: str | None) -> None:
    """What is allowed and yet hardly meant is said, and what is usual is not."""
    advice = advice_on(settings_of(text, tmp_path))

    if words is None:
        assert advice == []
    else:
        assert [sentence for sentence in advice if words in sentence]


@pytest.mark.parametrize("host", ["packages.example.com", "Packages.example.com:8443"])
def test_trusted_hosts_and_public_url(tmp_path: Path, host: str) -> None:
    """The host of the public URL is among the trusted ones, with its port or without."""
    url = "https://packages.example.com:8443/team"
    text = f'[access]\ntrusted_hosts = ["{host}"]\n[server]\npublic_url = "{url}"'

    assert settings_of(text, tmp_path).access.trusted_hosts == (host,)


def test_documented_examples(tmp_path: Path) -> None:
    """Every example of docs/settings.md is one that a server starts with."""
    page = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
    examples = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)

    assert len(examples) > 3
    for example in examples:
        settings_of(example, tmp_path)
