"""`--index`: the commands about packages and rights, for an index that has a name."""

from pathlib import Path

import pytest

from tests.cli.conftest import Done, Typed
from tests.clients.harness import Sandbox
from tests.distributions import make_wheel


@pytest.fixture
def there(wheelyard: Typed) -> Typed:
    """Type a command for a store with the indexes dev and prod."""

    def run(*arguments: str | Path) -> Done:
        return wheelyard(*arguments, "--store", "there")

    assert run("token", "create", "ci").returncode == 0
    for name in ("dev", "prod"):
        assert run("index", "add", name).returncode == 0
    return run


def test_packages_of_an_index(there: Typed, tmp_path: Path) -> None:
    """A file that is uploaded to an index is listed, yanked and deleted there, and there alone."""
    file = make_wheel().write(tmp_path)
    assert there("upload", file, "--index", "dev").stdout.endswith("uploaded\n")

    assert there("list", "--index", "dev").stdout.startswith("demo")
    nothing = there("list")
    assert nothing.stdout == ""
    assert "main has no project; there are also dev, prod: " in nothing.stderr
    assert "list --index dev --store there" in nothing.stderr
    missing = there("list", "demo")
    assert "This is about the index main: there are also dev, prod." in missing.stderr
    assert "there are also dev, prod." in there("why", "demo").stderr
    assert "there are also dev, prod." in there("journal", "demo").stderr
    assert there("list", "--index", "prod").stdout == ""
    assert there("yank", "demo", "1.0", "--index", "dev").returncode == 0
    assert there("yank", "demo", "1.0").returncode == 1
    assert "yanked" in there("journal", "--index", "dev").stdout
    assert "--index chooses another: dev, prod" in there("journal", "--what", "yanked").stderr
    assert "has packages" in there("index", "remove", "dev").stderr
    imported = there("import", tmp_path, "--into", "prod")
    assert "imported 1 file" in imported.stdout
    assert there("list", "--index", "prod").stdout.startswith("demo")
    unknown = there("list", "--index", "qa")
    assert (unknown.returncode, "There is no index 'qa'" in unknown.stderr) == (1, True)


def test_usage_of_a_damaged_index(there: Typed, sandbox: Sandbox) -> None:
    """An index that cannot be read is a warning with status 1, and the others are counted."""
    files = [make_wheel(name).write(sandbox.folder) for name in ("demo", "other")]
    for name, file in zip(("dev", "prod"), files, strict=True):
        assert there("upload", file, "--index", name).returncode == 0
    names = sandbox.folder / "there" / "indexes" / "dev" / "projects.json"
    names.write_bytes(b"?")

    done = there("usage")

    assert done.returncode == 1
    assert "prod/other" in done.stdout
    assert "dev" not in done.stdout
    assert "The document indexes/dev/projects.json is damaged" in done.stderr
    assert "wheelyard check --store there" in done.stderr


def test_a_right_names_several_indexes(there: Typed) -> None:
    """`--index` of a right can be given again, and its value can have commas."""
    for number, names in enumerate((("dev", "prod"), ("dev,prod",))):
        options = [word for name in names for word in ("--index", name)]
        created = there("token", "create", f"ci-{number}", *options)
        assert "in the indexes dev and prod" in created.stderr


def test_who_may_approve_in_an_index_alone(there: Typed) -> None:
    """A grant to approve in another index than main is warned of, and explained as no right."""
    grant = ("access", "grant", "htpasswd:ana", "--project", "*", "--can", "approve")

    granted = there(*grant, "--index", "dev")

    assert "gives no right to approve, as it is not about main" in granted.stderr
    question = ("access", "explain", "htpasswd:ana", "requests", "approve")
    assert there(*question, "--index", "dev").returncode == 1
    assert there(*grant).returncode == 0
    assert there(*question, "--index", "dev").returncode == 0


def test_main_is_changed_as_another_index(there: Typed) -> None:
    """Main is changed and listed by commands, and neither made nor removed."""
    changed = there("index", "change", "main", "read=granted", "promote_only=true")
    listed = there("index", "list").stdout.splitlines()
    refused = [
        there("index", *command)
        for command in (("remove", "main"), ("add", "main"), ("change", "main", "layers=dev"))
    ]

    assert changed.stdout == "main: read granted, promote_only true\n"
    assert listed[0].startswith("main\tread granted, promote_only true\t20")
    assert [done.returncode for done in refused] == [1, 1, 1]
    assert "always there" in refused[0].stderr
    assert "it shows its own packages" in refused[2].stderr
    assert "index main: changed, read granted" in there("index", "history").stdout
    wrong = there("index", "change", "dev", "read=everyone")
    assert 'read: expected "anyone" or "granted"' in wrong.stderr


def test_rights_in_an_index(there: Typed) -> None:
    """A grant and a token name an index, which lists show, and `explain` says what holds where."""
    grant = ("access", "grant", "htpasswd:ana", "--project", "*", "--can", "upload")
    of_main = there(*grant)
    assert "htpasswd:ana may read and upload to every project in the index main" in of_main.stderr
    other = ("access", "grant", "htpasswd:bo", "--project", "*", "--can", "upload")
    granted = there(*other, "--index", "prod")
    assert "htpasswd:bo may read and upload to every project in the index prod" in granted.stderr

    question = ("access", "explain", "htpasswd:ana", "core", "upload")
    assert there(*question).stdout.startswith("yes: ")
    for index in ("prod", "dev"):
        answer = there(*question, "--index", index).stdout
        assert answer.startswith(f"no: htpasswd:ana may not upload to core in the index {index}")
        assert f"in the index main, and not in the index {index}" in answer
    assert "in the index prod" in there("access", "show").stdout
    token = there("token", "create", "prod-ci", "--index", "prod", "--for-ci", "gitlab")
    assert "read,upload on * in the index prod" in token.stderr
    assert "/prod/" in token.stderr
    assert "on * in the index prod" in there("token", "list").stdout
    assert there("access", "revoke", granted.stdout.strip()).returncode == 0
    for name in ("ana", "bo"):
        ended = there("access", "explain", f"htpasswd:{name}", "core", "read", "--index", "prod")
        assert ended.stdout.startswith("no: ")
    assert there(*other, "--index", "prod").returncode == 0
    warned = there("index", "remove", "prod").stderr
    assert "1 grant and 1 token for the index prod" in warned


def test_an_open_index(there: Typed) -> None:
    """An open index that shows packages of one that is not is made only if that is confirmed."""
    leak = ("index", "add", "leak", "layers=prod", "read=anyone")
    refused = there(*leak)
    assert refused.returncode == 1
    assert "would show the packages of the index prod, where a right is needed" in refused.stderr
    assert "--even-if-open" in refused.stderr
    assert "leak" not in there("index", "list").stdout

    warning = "Anybody may read the index leak, which shows packages of the index prod"
    assert warning in there(*leak, "--even-if-open").stderr
    assert warning in there("index", "change", "leak", "layers=leak,prod").stderr
    assert warning in there("index", "list").stdout
    grant = ("access", "grant", "htpasswd:ana", "--project", "*", "--can", "read")
    granted = there(*grant, "--index", "leak")
    assert "anybody may read the index leak all the same" in granted.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("access", "grant", "htpasswd:ana", "--project", "*", "--can", "read"),
        ("token", "create", "x"),
    ],
)
def test_rights_in_an_index_that_does_not_exist(there: Typed, arguments: tuple[str, ...]) -> None:
    """A grant or a token for an index that there is not is refused."""
    done = there(*arguments, "--index", "qa")

    assert (done.returncode, "There is no index 'qa'" in done.stderr) == (1, True)


def test_settings_of_clients(there: Typed) -> None:
    """The settings of each client have the URLs of the index, and a name of its own."""
    url = ("--url", "https://packages.acme.dev", "--index", "prod")
    uv = there("print-settings", "uv", *url).stdout
    assert 'url = "https://packages.acme.dev/prod/simple/"' in uv
    assert 'publish-url = "https://packages.acme.dev/prod/legacy/"' in uv
    assert 'name = "wheelyard-prod"' in uv
    assert "UV_INDEX_WHEELYARD_PROD_PASSWORD" in uv
    twine = there("print-settings", "twine", *url).stdout
    assert "repository = https://packages.acme.dev/prod/legacy/" in twine
    assert "/prod/simple/" in there("print-settings", "pip", "--index", "prod").stdout
    assert "There is no index 'qa'" in there("print-settings", "pip", "--index", "qa").stderr


@pytest.mark.parametrize("day", ["as-of-2026-01-31", "prod/as-of-2026-01-31"])
def test_settings_for_a_day(there: Typed, day: str) -> None:
    """The settings of an installer can be for the view of a day, to which nothing is published."""
    for url in ((), ("--url", "https://packages.acme.dev")):
        printed = there("print-settings", "uv", "--index", day, *url).stdout
        assert f"/{day}/simple/" in printed
        assert "publish-url" not in printed
    wrong = there("print-settings", "uv", "--index", "prod/as-of-2026-02-30")
    assert (wrong.returncode, "there is no such day" in wrong.stderr) == (1, True)


@pytest.mark.parametrize("definition", ["promote_only=true", "layers=dev"])
def test_nothing_publishes_to_an_index_without_uploads(there: Typed, definition: str) -> None:
    """For an index that takes no uploads, no command prints how to publish to it."""
    assert there("index", "change", "prod", definition).returncode == 0

    twine = there("print-settings", "twine", "--index", "prod")
    assert (twine.returncode, "The index prod takes no uploads" in twine.stderr) == (1, True)
    uv = there("print-settings", "uv", "--index", "prod").stdout
    assert ("/prod/simple/" in uv, "publish-url" in uv) == (True, False)
    for index, publishes in (("prod", False), ("dev,prod", True)):
        token = there("token", "create", "ci", "--index", index, "--for-ci", "gitlab").stderr
        assert ("uv publish" in token) == publishes
        assert f"@YOUR-INDEX/{index.partition(',')[0]}/simple/" in token
