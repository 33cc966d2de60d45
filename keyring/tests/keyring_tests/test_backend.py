"""The backend as keyring loads it, among other backends."""

import json

from keyring_tests.harness import ACCESS_TOKEN, INDEX_TOKEN, KeyringHarness

OTHER = """\
import sys
import keyring, keyring.backend, keyring.errors

class Other(keyring.backend.KeyringBackend):
    priority = 5
    kept = {}

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def delete_password(self, service, username):
        del self.kept[service, username]

index = sys.argv[1]
"""
"""A script's beginning: another backend, as desktops have, which keyring then chains to ours."""


def test_is_found(harness: KeyringHarness) -> None:
    """Once installed, it is a backend of keyring's, and before Google's own."""
    printed, _ = harness.ask("--list-backends")

    assert "wheelyard_keyring.backend.WheelyardKeyring (priority: 9.1)" in printed


def answers(
    harness: KeyringHarness, *asked: tuple[str, str], **more: str
) -> tuple[list[str | None], str]:
    """Ask keyring for passwords, all in one process; return them, and the messages."""
    script = (
        "import json, sys, keyring\n"
        "asked = json.loads(sys.argv[1])\n"
        "print(json.dumps([keyring.get_password(*each) for each in asked]))\n"
    )
    command = (harness.python, "-c", script, json.dumps(asked))
    done = harness.sandbox.attempt(*command, **harness.environment(**more))
    found: list[str | None] = json.loads(done.stdout)
    return found, done.stderr


def test_our_users(harness: KeyringHarness) -> None:
    """Every user name that stands for any user gets the token."""
    harness.log_in()
    users = ("", "oauth2accesstoken", "__token__", "oidc")

    found, _ = answers(harness, *((harness.index.url, user) for user in users))

    assert found == [ACCESS_TOKEN] * len(users)


def test_other_users(harness: KeyringHarness) -> None:
    """A user name of another account gets nothing: its password is in another backend."""
    harness.log_in()
    users = ("alice", "OAUTH2ACCESSTOKEN", "_json_key", " ")

    found = answers(harness, *((harness.index.url, user) for user in users))

    assert found == ([None] * len(users), "")
    assert harness.started == []


def test_others(harness: KeyringHarness) -> None:
    """The backend answers no other request, and contacts no server for it."""
    harness.log_in()
    asked = (
        ("python-poetry-check", "python-poetry"),
        ("poetry-repository-acme", "__poetry_source_empty_username__"),
        ("poetry-repository-acme", "__token__"),
        ("https://example.com/simple/", "oauth2accesstoken"),
        ("example.com", "oauth2accesstoken"),
        ("system", "oauth2accesstoken"),
        ("https://[", "oauth2accesstoken"),
    )

    found = answers(harness, *asked, WHEELYARD_TOKEN=INDEX_TOKEN)

    assert found == ([None] * len(asked), "")
    assert (harness.started, harness.metadata.seen) == ([], [])


def test_empty_list(harness: KeyringHarness) -> None:
    """With no host on the list there is no credential for anybody."""
    harness.log_in()

    assert harness.ask("get", harness.index.url, "oidc", WHEELYARD_KEYRING_HOSTS="") == ("", "")


def test_asked_twice(harness: KeyringHarness) -> None:
    """Within one process Google is asked once, and every question gets the same answer."""
    harness.log_in()
    script = (
        "import sys, json, keyring\n"
        "url, host = sys.argv[1:]\n"
        "cred = keyring.get_credential(url, None)\n"
        "more = [keyring.get_password(each, cred.username) for each in (url, url + '/simple/')]\n"
        "print(json.dumps([cred.username, cred.password, *more]))\n"
    )

    printed = harness.run(harness.python, "-c", script, harness.index.url, harness.index.address)

    assert json.loads(printed) == ["oauth2accesstoken", *[ACCESS_TOKEN] * 3]
    assert len(harness.started) == 1


def test_refused_once(harness: KeyringHarness) -> None:
    """That there is no credential is found out once, too, and told once."""
    script = "import sys, keyring\n" + "print(keyring.get_credential(sys.argv[1], None))\n" * 3

    done = harness.sandbox.attempt(
        harness.python, "-c", script, harness.index.url, **harness.environment()
    )

    assert done.stdout.split() == ["None"] * 3
    assert done.stderr.count("There is no credential") == 1
    assert len(harness.started) == 1


def test_plain_http(harness: KeyringHarness) -> None:
    """Who asks for a listed host over plain http gets nothing, nor for its bare name afterwards."""
    harness.log_in()
    hosts = "pypi.acme.dev,pypi.acme.dev:80"
    asking = ("--mode=creds", "get")

    # a process each, as clients run `keyring`: the one does not know what the other was asked
    url = harness.ask(*asking, "http://pypi.acme.dev/simple/", WHEELYARD_KEYRING_HOSTS=hosts)
    bare = harness.ask(*asking, "pypi.acme.dev", WHEELYARD_KEYRING_HOSTS=hosts)

    assert (url[0], bare) == ("", ("", ""))
    assert "use https://" in url[1]
    assert harness.started == []


def test_broken_settings(harness: KeyringHarness) -> None:
    """Settings that cannot be understood give nothing, say so, and stop no other backend."""
    harness.configure("hosts = [")
    script = (
        f"{OTHER}keyring.set_password('example.com', 'alice', 'kept')\n"
        "print(keyring.get_password(index, 'oidc'), keyring.get_password('example.com', 'alice'))\n"
    )

    done = harness.sandbox.attempt(
        harness.python, "-c", script, harness.index.url, **harness.environment()
    )

    assert done.stdout.split() == ["None", "kept"]
    assert "keyring.toml is not TOML" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_backends(harness: KeyringHarness) -> None:
    """What people store for other hosts and users is stored and deleted where it always was."""
    harness.log_in()
    script = (
        f"{OTHER}for service, user in (('example.com', 'alice'), (index, 'alice')):\n"
        "    keyring.set_password(service, user, 'kept')\n"
        "    print(keyring.get_password(service, user))\n"
        "    keyring.delete_password(service, user)\n"
        "    print(keyring.get_password(service, user))\n"
    )

    printed = harness.run(harness.python, "-c", script, harness.index.url)

    assert printed.split() == ["kept", "None"] * 2


def test_nothing_is_stored(harness: KeyringHarness) -> None:
    """For its own hosts it refuses to store or delete: the password would never be used."""
    script = (
        f"{OTHER}for change in ((keyring.set_password, 'x'), (keyring.delete_password,)):\n"
        "    try:\n"
        "        change[0](index, 'oauth2accesstoken', *change[1:])\n"
        "    except keyring.errors.KeyringError as error:\n"
        "        print(type(error).__name__)\n"
    )

    printed = harness.run(harness.python, "-c", script, harness.index.url)

    assert printed.split() == ["PasswordSetError", "PasswordDeleteError"]


def test_import_is_cheap(harness: KeyringHarness) -> None:
    """Every tool that uses keyring loads the backend, so that loads nothing else."""
    script = (
        "import sys, keyring.backend\n"
        "before = set(sys.modules)\n"
        "import wheelyard_keyring.backend\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )

    loaded = harness.run(harness.python, "-c", script).split()

    assert loaded == ["wheelyard_keyring", "wheelyard_keyring.backend"]
