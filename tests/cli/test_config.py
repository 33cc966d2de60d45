"""What `wheelyard config check` and `wheelyard access explain` say."""

import base64
import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.cli.conftest import Done, Typed
from tests.clients.harness import Desk
from wheelyard.index import Index, open_index
from wheelyard.model.access import Action, parse_pattern
from wheelyard.operations.tokens import TokenRequest
from wheelyard.settings.reading import read_settings

PASSWORD = "correct horse battery staple"
STATIC = "a static token, of any text"
WEAK = (
    "{SHA}"
    + base64.b64encode(hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()).decode()
)
ROBOT = "serviceAccount:ci@acme.iam.gserviceaccount.com"
SETTINGS = f"""
[access]
htpasswd_file = "users"
static_tokens_file = "tokens.toml"
private_names = ["pay-*"]

[google.id_token]
audience = ["https://packages.example.com"]

[trusted_publishing]
audience = ["packages.example.com"]

[[grant]]
who = ["domain:acme.dev"]
projects = ["acme-*"]
actions = ["read"]
note = "everyone employed"

[[grant]]
who = ["user:ana@acme.dev", "htpasswd:ml-ci"]
projects = ["Acme_*", "tools"]
actions = ["manage"]

[[grant]]
who = ["allAuthenticated"]
projects = ["open-*"]
actions = ["read"]

[[grant]]
who = ["{ROBOT}#123"]
projects = ["robots"]
actions = ["upload"]

[[grant]]
who = ["{ROBOT}", "htpasswd:ml-ci"]
projects = ["robot-*"]
actions = ["read"]

[[publisher]]
id = "core"
provider = "gitlab"
projects = ["acme-core"]
project_path = "acme/core"
project_id = 1
namespace_id = 2
"""

Configured = Callable[..., Done]


@pytest.fixture
def settings(desk: Desk) -> Path:
    """A folder with settings, and with the files that they name."""
    folder = desk.folder / "etc"
    folder.mkdir()
    (folder / "wheelyard.toml").write_text(SETTINGS)
    (folder / "users").write_text(f"ml-ci:{WEAK}\n")
    (folder / "tokens.toml").write_text(
        f'[[token]]\nname = "old, ci"\nvalue = "{STATIC}"\nprojects = ["acme-*"]\n'
    )
    for name in ("users", "tokens.toml"):
        (folder / name).chmod(0o600)
    return folder / "wheelyard.toml"


@pytest.fixture
def check(wheelyard: Typed, settings: Path) -> Configured:
    """Check the settings, after a change to them if there is any."""

    def run(more: str = "", text: str = SETTINGS) -> Done:
        settings.write_text(text + more)
        return wheelyard("config", "check", "--config", settings)

    return run


@pytest.fixture
def explain(wheelyard: Typed, settings: Path) -> Typed:
    """Ask who may do what."""

    def ask(*arguments: str) -> Done:
        return wheelyard("access", "explain", *arguments, "--config", settings)

    return ask


def test_what_is_in_force(check: Configured) -> None:
    """Every grant is there in words, with its number and its note, and every way in."""
    said = check().stdout.splitlines()

    assert [line for line in said if line.startswith("grant ")] == [
        "grant 1: domain:acme.dev may read acme-* (everyone employed)",
        "grant 2: htpasswd:ml-ci, user:ana@acme.dev may read, upload to and manage acme-*, tools",
        "grant 3: allAuthenticated may read open-*",
        f"grant 4: {ROBOT}#123 may read and upload to robots",
        f"grant 5: htpasswd:ml-ci, {ROBOT} may read robot-*",
    ]
    ways = next(line for line in said if line.startswith("credentials: "))
    for way in ("API tokens", "1 in ", "passwords in ", "ID tokens for https://", "publishing for"):
        assert way in ways
    assert [line for line in said if line.startswith("publisher core: https://gitlab.com")]


def test_warnings(check: Configured, settings: Path) -> None:
    """Warnings go to standard error, and are no failure."""
    (settings.parent / "tokens.toml").chmod(0o644)

    done = check('\n[server]\nhost = "0.0.0.0"\n')

    assert done.returncode == 0
    for words in (
        "tokens.toml: every user of this machine may read it",
        "the hash on line 1 is SHA-1",
        "grant 3 is for allAuthenticated, which is every Google account",
        "credentials may come over plain HTTP",
    ):
        assert words in done.stderr
    assert all(line.startswith("wheelyard: warning: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("htpasswd:ml-cd", "there is no such name in [access] htpasswd_file"),
        ("static:ci", "there is no such name in the static tokens"),
        ("user:bo@else.dev", "else.dev is not in [google.id_token] allowed_domains, unless that"),
        ("domain:else.dev", "else.dev is not in [google.id_token] allowed_domains"),
        ("user:x@acme.iam.gserviceaccount.com", "write serviceAccount:x@acme.iam"),
        ("serviceAccount:bo@acme.dev", "ends in .gserviceaccount.com"),
        *((who, "") for who in ("htpasswd:ml-ci", "static:old, ci", "domain:ACME.dev", ROBOT)),
    ],
)
def test_nobody_comes(wheelyard: Typed, settings: Path, who: str, words: str) -> None:
    """A grant that names somebody who can never come is warned about in a line, and no other."""
    allowed = 'audience = ["https://packages.example.com"]\nallowed_domains = ["Acme.dev"]'
    text = SETTINGS.replace('audience = ["https://packages.example.com"]', allowed)
    grant = f'[[grant]]\nwho = ["{who}"]\nprojects = ["*"]\nactions = ["read"]\n'
    settings.write_text(text + grant)

    done = wheelyard("config", "check", "--config", settings)

    told = [line for line in done.stderr.splitlines() if "to no effect" in line]
    assert done.returncode == 0
    assert len(told) == bool(words)
    assert all(f"grant 6 names '{who}'" in line and words in line for line in told)


def test_iap_has_its_own_domains(check: Configured) -> None:
    """Whom the domains of ID tokens keep out may still come by the proxy for pages."""
    more = '[google.id_token]\nallowed_domains = ["other.dev"]\n'
    with_domains = SETTINGS.replace("[google.id_token]\n", more)

    said = check('[iap]\naudience = ["/projects/1/apps/acme"]\n', with_domains).stderr

    assert "to no effect" not in said
    assert "is not in [google.id_token] allowed_domains" in check("", with_domains).stderr


@pytest.mark.parametrize("name", ["users", "tokens.toml"])
def test_a_file_elsewhere(check: Configured, settings: Path, name: str) -> None:
    """Where a file is not there, everything else is told; and that it could not be compared."""
    (settings.parent / name).unlink()

    done = check(
        '[[grant]]\nwho = ["static:x", "htpasswd:x"]\nprojects = ["*"]\nactions = ["read"]'
    )

    assert done.returncode == 1
    assert "grant 1: domain:acme.dev may read acme-*" in done.stdout
    *warnings, failure = done.stderr.splitlines()
    assert f"{name} cannot be found, so that no name in it was compared" in failure
    (told,) = [line for line in warnings if "to no effect" in line]
    assert ("static:x" in told) == (name == "users")


def test_no_secret(check: Configured) -> None:
    """Neither a password's hash nor a token is ever shown."""
    done = check()

    for secret in (WEAK, STATIC, hashlib.sha256(STATIC.encode()).hexdigest()):
        assert secret not in done.stdout + done.stderr


def test_nothing_is_made(check: Configured, desk: Desk) -> None:
    """The settings are checked without a store, and none is made."""
    check()

    assert {path.name for path in desk.folder.iterdir()} == {"etc"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("users", "ana", "users: Line 1 has no colon"),
        ("users", f"ana:{WEAK}\nana:{WEAK}", "users: Line 2 has the name of line 1"),
        ("tokens.toml", "[[token]]", "tokens.toml: [[token]] number 1 has no name"),
        ("wheelyard.toml", '[[grant]]\nwho = ["ana"]', "[[grant]] number 1"),
    ],
)
def test_errors(wheelyard: Typed, settings: Path, name: str, content: str, words: str) -> None:
    """A file that makes no sense is a failure, told in one line with its place."""
    (settings.parent / name).write_text(content)

    done = wheelyard("config", "check", "--config", settings)

    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert WEAK not in done.stderr


def test_the_server_warns(desk: Desk, wheelyard: Typed, settings: Path) -> None:
    """A server says the same when it starts, and does not start where something is wrong."""
    del desk
    (settings.parent / "users").write_text("ana")

    done = wheelyard("serve", "--port", "0", "--config", settings)

    assert done.returncode == 1
    assert "Line 1 has no colon" in done.stderr


@pytest.mark.parametrize(
    ("who", "project", "action", "reason"),
    [
        ("domain:acme.dev", "acme-core", "read", "grant 1: domain:acme.dev may read acme-*"),
        ("user:ANA@acme.dev", "Acme.Core", "upload", "grant 2: htpasswd:ml-ci, user:ana"),
        ("user:bo@acme.dev, domain:acme.dev", "acme-core", "read", "grant 1"),
        ("user:bo@acme.dev", "open-x", "read", "grant 3: allAuthenticated may read open-*"),
        (
            "static:old, ci",
            "acme-x",
            "upload",
            "what the static token itself is good for: read and",
        ),
        (f"{ROBOT}#123", "robots", "upload", f"grant 4: {ROBOT}#123 may read and upload to robots"),
        (f"{ROBOT}#123", "robot-tools", "read", f"grant 5: htpasswd:ml-ci, {ROBOT} may read"),
        (ROBOT, "robot-tools", "read", "grant 5"),
        ("htpasswd:ml-ci", "robot-tools", "read", "grant 5"),
        ("static:old, ci", "open-x", "read", "grant 3"),
        ("publisher:core", "acme-core", "upload", "what the publisher may do"),
    ],
)
def test_yes(explain: Typed, who: str, project: str, action: str, reason: str) -> None:
    """Whoever may is told by which grant, or by what of their own."""
    done = explain(who, project, action)

    assert done.returncode == 0
    assert done.stdout.startswith("yes: ")
    assert f"\n  {reason}" in done.stdout


@pytest.mark.parametrize(
    ("who", "project", "action", "status"),
    [
        ("anonymous", "acme-core", "read", "401"),
        ("anonymous", "pay-roll", "upload", "401"),
        ("user:bo@acme.dev", "acme-core", "read", "404"),
        ("user:bo@acme.dev", "pay-roll", "read", "403"),
        ("domain:acme.dev", "acme-core", "upload", "403"),
        ("publisher:core", "acme-other", "upload", "403"),
        ("publisher:core", "open-x", "read", "404"),
        ("htpasswd:ml-ci", "ml", "upload", "403"),
        ("user:ana@acme.dev", "acme-core", "admin", "403"),
        (ROBOT, "robots", "upload", "403"),
        ("htpasswd:ml-ci#123", "robot-tools", "read", "404"),
    ],
)
def test_no(explain: Typed, who: str, project: str, action: str, status: str) -> None:
    """Whoever may not is told what they would see."""
    done = explain(who, project, action)

    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.startswith("no: ")
    assert f"they see {status}" in done.stdout


@pytest.mark.parametrize(
    ("who", "project", "hint"),
    [
        (ROBOT, "robots", f"grant 4 is for {ROBOT}#123: ask for it so, if that is the account's"),
        (f"{ROBOT}#99", "robots", f"grant 4 is for {ROBOT}#123: ask for it so"),
        (
            ROBOT.replace("serviceAccount", "user"),
            "robots",
            f"grant 4 is for {ROBOT}#123: a service account is no user",
        ),
        (
            "user:bo@acme.dev",
            "acme-core",
            "grant 1 (everyone employed) is for domain:acme.dev: ask for user:bo@acme.dev,domain",
        ),
        ("user:bo@else.dev", "acme-core", ""),
    ],
)
def test_other_names(explain: Typed, who: str, project: str, hint: str) -> None:
    """Whoever may under another name of theirs is told by which one to ask."""
    told = explain(who, project, "read").stdout.splitlines()[2:]

    assert len(told) == bool(hint)
    assert all(line.startswith(f"  {hint}") for line in told)


def test_without_the_passwords(explain: Typed, settings: Path) -> None:
    """What somebody may do is told where the file of passwords is not there, too."""
    (settings.parent / "users").unlink()

    done = explain("htpasswd:ml-ci", "tools", "upload")

    assert (done.returncode, done.stdout[:4]) == (0, "yes:")


def test_the_words_of_an_answer(explain: Typed) -> None:
    """An answer is a sentence, whatever was asked."""
    said = [explain("user:ana@acme.dev", "tools", each).stdout for each in ("upload", "admin")]

    assert said[0].startswith("yes: user:ana@acme.dev may upload to tools\n")
    assert said[1].startswith("no: user:ana@acme.dev may not administer tools\n")


def test_help(explain: Typed) -> None:
    """The command's own help tells its exit status."""
    assert "exit 0 for yes, 1 for no" in " ".join(explain("--help").stdout.split())


def test_without_grants(wheelyard: Typed) -> None:
    """Where there is no grant at all it is said what holds instead."""
    assert "no [[grant]]" in wheelyard("access", "explain", "anonymous", "x", "read").stdout
    done = wheelyard("access", "explain", "htpasswd:ana", "x", "upload")
    assert "what a password is good for" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["group:all@acme.dev", "x", "read"], 2, "no credential tells of Google groups"),
        (["ana", "x", "read"], 2, "nobody that a grant can name"),
        (["anonymous", "a b", "read"], 2, "not a project name"),
        (["anonymous", "x", "fly"], 2, "fly"),
        (["token:0123456789", "x", "read"], 1, "There is no store"),
    ],
)
def test_refusals(explain: Typed, arguments: list[str], status: int, words: str) -> None:
    """A question that makes no sense is refused in a line."""
    done = explain(*arguments)

    assert done.returncode == status
    assert words in done.stderr


@pytest.fixture
def index(desk: Desk, settings: Path) -> Index:
    """The store that the commands use."""
    location = str(desk.folder / "wheelyard-data")
    return open_index(
        read_settings(file=settings, overrides={"store": {"location": location}}, environ={})
    )


def test_tokens(explain: Typed, index: Index) -> None:
    """A token is looked up, and explained by its own scope or by its state."""
    request = TokenRequest(name="ci", projects=(parse_pattern("acme-*"),))
    token = index.tokens.create(request, by="local:ana")[0]
    who = f"token:{token.id}"

    assert "what the token itself is good for" in explain(who, "acme-x", "upload").stdout
    assert "they see 404" in explain(who, "tools", "read").stdout
    index.tokens.revoke(token.id, by="local:ana")
    assert "401, because the token is revoked" in explain(who, "acme-x", "upload").stdout


def test_a_token_of_somebody(explain: Typed, index: Index) -> None:
    """Somebody's token may do what it was made for, as far as its owner still may."""
    request = TokenRequest(
        name="ana's",
        actions=Action.READ | Action.UPLOAD,
        owner="user:bo@acme.dev",
        owner_names=("user:bo@acme.dev", "domain:acme.dev"),
    )
    token = index.tokens.create(request, by="user:bo@acme.dev")[0]

    found = explain(f"token:{token.id}", "acme-core", "read").stdout
    assert "inside the rights of its owner user:bo@acme.dev: read acme-*" in found
    assert "they see 403" in explain(f"token:{token.id}", "acme-core", "upload").stdout


def test_minted_tokens(wheelyard: Typed, index: Index) -> None:
    """The tokens of jobs are marked in the list, and left out once they have expired."""
    made = {}
    for name, hours in (("job", 1), ("old job", -1)):
        _, record = index.tokens.create(TokenRequest(name=name), by="publisher:core")
        snapshot = index.tokens.credentials.latest(record.id)
        expires = index.ambient.now() + timedelta(hours=hours)
        minted = replace(record, publishers=("core",), expires_at=expires)
        assert index.tokens.credentials.replace(minted, snapshot)
        made[name] = record.id

    listed = wheelyard("token", "list").stdout

    assert listed.startswith(made["job"])
    assert listed.endswith("\tactive\tminted\n")
    assert made["old job"] not in listed
