"""The command `wheelyard-token`."""

import pytest

from keyring_tests.harness import ACCESS_TOKEN, INDEX_TOKEN, KeyringHarness
from tests.clients.harness import program


def test_alone(harness: KeyringHarness) -> None:
    """The token is printed alone, so a shell can take it."""
    harness.log_in()

    assert harness.token(harness.index.url) == (0, f"{ACCESS_TOKEN}\n", "")
    assert harness.token(harness.index.address) == (0, f"{ACCESS_TOKEN}\n", "")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("pypi.acme.dev", "https://{}@pypi.acme.dev/simple/"),
        ("PYPI.ACME.DEV.", "https://{}@pypi.acme.dev/simple/"),
        ("https://someone:else@pypi.acme.dev:443/", "https://{}@pypi.acme.dev/simple/"),
        ("https://pypi.acme.dev/team/simple/?x#y", "https://{}@pypi.acme.dev/team/simple/"),
        ("localhost:8080", "https://{}@localhost:8080/simple/"),
        ("http://localhost:8080", "http://{}@localhost:8080/simple/"),
        ("http://[::1]:8080", "http://{}@[::1]:8080/simple/"),
    ],
)
def test_url(harness: KeyringHarness, host: str, url: str) -> None:
    """The URL is that of the index, with user name and token before the host."""
    harness.log_in()
    hosts = {"WHEELYARD_KEYRING_HOSTS": "pypi.acme.dev,localhost:8080,[::1]:8080"}

    google = harness.token("--url", host, **hosts)
    own = harness.token("--url", host, **hosts, WHEELYARD_TOKEN=INDEX_TOKEN)

    assert google == (0, url.format(f"oauth2accesstoken:{ACCESS_TOKEN}") + "\n", "")
    assert own == (0, url.format(f"__token__:{INDEX_TOKEN}") + "\n", "")


def test_escaped(harness: KeyringHarness) -> None:
    """A token with characters that mean something in a URL is escaped there."""
    harness.log_in("'ya29./@:#%'")

    _, printed, _ = harness.token("--url", harness.index.url)

    assert f"oauth2accesstoken:ya29.%2F%40%3A%23%25@{harness.index.address}" in printed


@pytest.mark.parametrize("option", [(), ("--url",)])
@pytest.mark.parametrize(
    "host", ["evil.com", "https://pypi.acme.dev@evil.com/", "", "--", "http://"]
)
def test_refused(harness: KeyringHarness, host: str, option: tuple[str, ...]) -> None:
    """For a host that is not on the list nothing is printed, and no source is asked."""
    harness.log_in()

    status, printed, said = harness.token(*option, "--", host)

    assert (status, printed) == (2, "")
    assert "keyring.toml" in said
    assert harness.started == []


@pytest.mark.parametrize(
    ("host", "text", "words"),
    [
        ("http://pypi.acme.dev", 'hosts = ["pypi.acme.dev:80"]', "use https://"),
        ("pypi.acme.dev", "hosts = [", "is not TOML"),
        ("pypi.acme.dev", "", "is not on the list"),
    ],
)
def test_one_reason(harness: KeyringHarness, host: str, text: str, words: str) -> None:
    """Why a host gets nothing is said in one line, which is the real reason."""
    harness.log_in()
    harness.configure(text)
    environment = harness.environment()
    del environment["WHEELYARD_KEYRING_HOSTS"]

    done = harness.sandbox.attempt(harness.python.parent / "wheelyard-token", host, **environment)

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_not_logged_in(harness: KeyringHarness) -> None:
    """Without a credential the command fails, and says what to do."""
    status, printed, said = harness.token(harness.index.url)

    assert (status, printed) == (1, "")
    assert "gcloud auth login" in said


@pytest.mark.clients
def test_pip(harness: KeyringHarness) -> None:
    """Pip installs with PIP_INDEX_URL and no keyring."""
    harness.log_in()
    _, url, _ = harness.token("--url", harness.index.url)

    command = (program("pip"), "install", "--target", "installed", "--no-cache-dir", "acme-tool")
    printed = harness.run(*command, PIP_INDEX_URL=url.strip())

    assert (harness.sandbox.folder / "installed" / "acme_tool.py").exists()
    assert ACCESS_TOKEN not in printed
