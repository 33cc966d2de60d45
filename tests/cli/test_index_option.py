"""`--index`: the commands about packages and rights, for an index that has a name."""

from pathlib import Path

import pytest

from tests.cli.conftest import Done, Typed
from tests.clients.harness import Sandbox
from tests.distributions import make_wheel


@pytest.fixture
def type_command(wheelyard: Typed) -> Typed:
    """Type a command for a store with the indexes dev and prod."""

    def run(*arguments: str | Path) -> Done:
        return wheelyard(*arguments, "--store", "there")

    assert run("token", "create", "ci").returncode == 0
    for name in ("dev", "prod"):
        assert run("index", "add", name).returncode == 0
    return run


def test_a_token_is_named_in_each_way(type_command: Typed) -> None:
    """A token is given other indexes by its name, by its id, or in full."""
    token = type_command("token", "create", "laptop").stdout.strip()

    changed = {
        type_command("token", "change", name, "--index", "dev").stdout
        for name in ("laptop", token[4:14], token)
    }

    assert changed == {f"{token[4:14]}: read,upload on * in the index dev\n"}


def test_packages_of_an_index(type_command: Typed, tmp_path: Path) -> None:
    """A file that is uploaded to an index is listed, yanked and deleted there, and there alone."""
    file = make_wheel().write(tmp_path)
    assert type_command("upload", file, "--index", "dev").stdout.endswith("uploaded\n")

    assert type_command("list", "--index", "dev").stdout.startswith("demo")
    nothing = type_command("list")
    assert nothing.stdout == ""
    assert "main has no project; there are also dev, prod: " in nothing.stderr
    assert "list --index dev --store there" in nothing.stderr
    missing = type_command("list", "demo")
    assert "This is about the index main: there are also dev, prod." in missing.stderr
    assert "there are also dev, prod." in type_command("why", "demo").stderr
    assert "  1 of 1 file shown\n" in type_command("why", "demo", "--index", "dev").stdout
    assert "there are also dev, prod." in type_command("journal", "demo").stderr
    assert type_command("list", "--index", "prod").stdout == ""
    assert type_command("yank", "demo", "1.0", "--index", "dev").returncode == 0
    assert type_command("yank", "demo", "1.0").returncode == 1
    of_dev = type_command("journal", "--index", "dev").stdout
    assert ("yanked" in of_dev, "prod" in of_dev) == (True, False)
    assert "prod" in type_command("journal").stdout
    assert (
        "--index chooses another: dev, prod" in type_command("journal", "--what", "yanked").stderr
    )
    of_prod = type_command("journal", "--what", "yanked", "--index", "prod")
    assert (of_prod.stdout, of_prod.stderr) == ("", "wheelyard: there is no such entry\n")
    assert "has packages" in type_command("index", "remove", "dev").stderr
    imported = type_command("import", tmp_path, "--into", "prod")
    assert "imported 1 file" in imported.stdout
    assert type_command("list", "--index", "prod").stdout.startswith("demo")
    unknown = type_command("list", "--index", "qa")
    assert (unknown.returncode, "There is no index 'qa'" in unknown.stderr) == (1, True)


def test_a_command_about_upstream_indexes_needs_one(type_command: Typed) -> None:
    """A command about upstream indexes says that there is none, and where the settings name it."""
    done = type_command("upstream", "forget", "demo")

    assert done.returncode == 1
    assert "There is no upstream index. Give the --config of the server" in done.stderr


def test_usage_of_a_damaged_index(type_command: Typed, sandbox: Sandbox) -> None:
    """An index that cannot be read is a warning with status 1, and the others are counted."""
    files = [make_wheel(name).write(sandbox.folder) for name in ("demo", "other")]
    for name, file in zip(("dev", "prod"), files, strict=True):
        assert type_command("upload", file, "--index", name).returncode == 0
    names = sandbox.folder / "there" / "indexes" / "dev" / "projects.json"
    names.write_bytes(b"?")

    done = type_command("usage")

    assert done.returncode == 1
    assert "prod/other" in done.stdout
    assert "dev" not in done.stdout
    assert "The document indexes/dev/projects.json is damaged" in done.stderr
    assert "wheelyard check --store there" in done.stderr


def test_a_right_names_several_indexes(type_command: Typed) -> None:
    """`--index` of a right can be given again, and its value can have commas."""
    for number, names in enumerate((("dev", "prod"), ("dev,prod",))):
        options = [word for name in names for word in ("--index", name)]
        created = type_command("token", "create", f"ci-{number}", *options)
        assert "in the indexes dev and prod" in created.stderr


def test_who_may_approve_in_an_index_alone(type_command: Typed) -> None:
    """A grant to approve in another index than main is warned of, and explained as no right."""
    grant = ("access", "grant", "htpasswd:ana", "--project", "*", "--can", "approve")

    granted = type_command(*grant, "--index", "dev")

    assert "gives no right to approve, as it is not about main" in granted.stderr
    question = ("access", "explain", "htpasswd:ana", "requests", "approve")
    assert type_command(*question, "--index", "dev").returncode == 1
    assert type_command(*grant).returncode == 0
    assert type_command(*question, "--index", "dev").returncode == 0


def test_main_is_changed_as_another_index(type_command: Typed) -> None:
    """Main is changed and listed by commands, and neither made nor removed."""
    changed = type_command("index", "change", "main", "read=granted", "promote_only=true")
    listed = type_command("index", "list").stdout.splitlines()
    refused = [
        type_command("index", *command)
        for command in (("remove", "main"), ("add", "main"), ("change", "main", "layers=dev"))
    ]

    assert changed.stdout == "main: read granted, promote_only true\n"
    assert listed[0].startswith("main\tread granted, promote_only true\t20")
    assert [done.returncode for done in refused] == [1, 1, 1]
    assert "always there" in refused[0].stderr
    assert "it shows its own packages" in refused[2].stderr
    assert "index main: changed, read granted" in type_command("index", "history").stdout
    wrong = type_command("index", "change", "dev", "read=everyone")
    assert 'read: expected "anyone" or "granted"' in wrong.stderr


def test_rights_in_an_index(type_command: Typed) -> None:
    """A grant and a token name an index, which lists show, and `explain` says what holds where."""
    grant = ("access", "grant", "htpasswd:ana", "--project", "*", "--can", "upload")
    of_main = type_command(*grant)
    assert "htpasswd:ana may read and upload to every project in the index main" in of_main.stderr
    other = ("access", "grant", "htpasswd:bo", "--project", "*", "--can", "upload")
    granted = type_command(*other, "--index", "prod")
    assert "htpasswd:bo may read and upload to every project in the index prod" in granted.stderr

    question = ("access", "explain", "htpasswd:ana", "core", "upload")
    assert type_command(*question).stdout.startswith("yes: ")
    for index in ("prod", "dev"):
        answer = type_command(*question, "--index", index).stdout
        assert answer.startswith(f"no: htpasswd:ana may not upload to core in the index {index}")
        assert f"in the index main, and not in the index {index}" in answer
    assert "in the index prod" in type_command("access", "show").stdout
    token = type_command("token", "create", "prod-ci", "--index", "prod", "--for-ci", "gitlab")
    assert "read,upload on * in the index prod" in token.stderr
    assert "/prod/" in token.stderr
    assert "on * in the index prod" in type_command("token", "list").stdout
    assert type_command("access", "revoke", granted.stdout.strip()).returncode == 0
    for name in ("ana", "bo"):
        ended = type_command(
            "access", "explain", f"htpasswd:{name}", "core", "read", "--index", "prod"
        )
        assert ended.stdout.startswith("no: ")
    assert type_command(*other, "--index", "prod").returncode == 0
    warned = type_command("index", "remove", "prod").stderr
    assert "1 grant and 1 token for the index prod" in warned


def test_an_open_index(type_command: Typed) -> None:
    """An open index that shows packages of one that is not is made only if that is confirmed."""
    leak = ("index", "add", "leak", "layers=prod", "read=anyone")
    refused = type_command(*leak)
    assert refused.returncode == 1
    assert "would show the packages of the index prod, where a right is needed" in refused.stderr
    assert "--even-if-open" in refused.stderr
    assert "leak" not in type_command("index", "list").stdout

    warning = "Anybody may read the index leak, which shows packages of the index prod"
    assert warning in type_command(*leak, "--even-if-open").stderr
    assert warning in type_command("index", "change", "leak", "layers=leak,prod").stderr
    assert warning in type_command("index", "list").stdout
    grant = ("access", "grant", "htpasswd:ana", "--project", "*", "--can", "read")
    granted = type_command(*grant, "--index", "leak")
    assert "anybody may read the index leak all the same" in granted.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("access", "grant", "htpasswd:ana", "--project", "*", "--can", "read"),
        ("token", "create", "x"),
    ],
)
def test_rights_in_an_index_that_does_not_exist(
    type_command: Typed, arguments: tuple[str, ...]
) -> None:
    """A grant or a token for an index that there is not is refused."""
    done = type_command(*arguments, "--index", "qa")

    assert (done.returncode, "There is no index 'qa'" in done.stderr) == (1, True)


def test_settings_of_clients(type_command: Typed) -> None:
    """The settings of each client have the URLs of the index, and a name of its own."""
    url = ("--url", "https://packages.acme.dev", "--index", "prod")
    uv = type_command("print-settings", "uv", *url).stdout
    assert 'url = "https://packages.acme.dev/prod/simple/"' in uv
    assert 'publish-url = "https://packages.acme.dev/prod/legacy/"' in uv
    assert 'name = "wheelyard-prod"' in uv
    assert "UV_INDEX_WHEELYARD_PROD_PASSWORD" in uv
    twine = type_command("print-settings", "twine", *url).stdout
    assert "repository = https://packages.acme.dev/prod/legacy/" in twine
    assert "/prod/simple/" in type_command("print-settings", "pip", "--index", "prod").stdout
    assert "There is no index 'qa'" in type_command("print-settings", "pip", "--index", "qa").stderr


@pytest.mark.parametrize("day", ["as-of-2026-01-31", "prod/as-of-2026-01-31"])
def test_settings_for_a_day(type_command: Typed, day: str) -> None:
    """The settings of an installer can be for the view of a day, to which nothing is published."""
    for url in ((), ("--url", "https://packages.acme.dev")):
        printed = type_command("print-settings", "uv", "--index", day, *url).stdout
        assert f"/{day}/simple/" in printed
        assert "publish-url" not in printed
    wrong = type_command("print-settings", "uv", "--index", "prod/as-of-2026-02-30")
    assert (wrong.returncode, "there is no such day" in wrong.stderr) == (1, True)


@pytest.mark.parametrize("definition", ["promote_only=true", "layers=dev"])
def test_nothing_publishes_to_an_index_without_uploads(
    type_command: Typed, definition: str
) -> None:
    """For an index that takes no uploads, no command prints how to publish to it."""
    assert type_command("index", "change", "prod", definition).returncode == 0

    twine = type_command("print-settings", "twine", "--index", "prod")
    assert (twine.returncode, "The index prod takes no uploads" in twine.stderr) == (1, True)
    uv = type_command("print-settings", "uv", "--index", "prod").stdout
    assert ("/prod/simple/" in uv, "publish-url" in uv) == (True, False)
    for index, publishes in (("prod", False), ("dev,prod", True)):
        token = type_command("token", "create", "ci", "--index", index, "--for-ci", "gitlab").stderr
        assert ("uv publish" in token) == publishes
        assert f"@YOUR-INDEX/{index.partition(',')[0]}/simple/" in token
