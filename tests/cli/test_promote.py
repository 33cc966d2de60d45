"""`wheelyard promote`: between the indexes of a store, from the command line."""

from pathlib import Path

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.distributions import make_requiring, make_sdist, make_wheel
from tests.index_tables import put_tables_at, toml_of

WHEEL, SDIST = make_wheel(), make_sdist()


@pytest.fixture
def promote(wheelyard: Typed, sandbox: Sandbox) -> Typed:
    """Type `promote demo 1.0` for a store, whose index `dev` has that release of two files."""
    (sandbox.folder / "wheelyard.toml").write_text('[store]\nlocation = "there"\n')
    indexes = ({"name": "dev"}, {"name": "prod", "promote_from": [""]})
    put_tables_at(sandbox.folder / "there", toml_of(index=indexes))
    for distribution in (WHEEL, SDIST):
        (sandbox.folder / distribution.filename).write_bytes(distribution.body)
        assert wheelyard("upload", distribution.filename, "--index", "dev").returncode == 0

    return lambda *options: wheelyard("promote", "demo", "1.0", *options)


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--from", "dev", "--to", "prod"), 1, "takes no releases from dev"),
        (("--to", "main"), 1, "FROM and TO are both main"),
        (("--from", "dev"), 2, "Missing option '--to'"),
        (("--from", "lab", "--to", "dev"), 1, "There is no index 'lab'"),
        (("--from", "prod", "--to", "dev"), 1, "The index prod has no project 'demo'"),
    ],
)
def test_what_is_refused(
    promote: Typed, options: tuple[str | Path, ...], status: int, words: str
) -> None:
    """A promotion that cannot be is refused with the reason, and with a status."""
    done = promote(*options)

    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "list",
        "journal demo",
        "usage",
        "names list",
        "why demo",
        "print-settings uv --project demo --url https://packages.acme.dev",
        "print-settings twine --url https://packages.acme.dev",
        "delete demo 1.0 --dry-run",
    ],
)
def test_main_is_the_index_without_an_option(
    promote: Typed, wheelyard: Typed, command: str
) -> None:
    """`--index main` chooses the index that is chosen without `--index`."""
    assert promote("--from", "dev", "--to", "main").returncode == 0
    words = command.split()

    unnamed, named = wheelyard(*words), wheelyard(*words, "--index", "main")

    assert (named.returncode, named.stdout) == (unnamed.returncode, unnamed.stdout)
    assert unnamed.returncode == 0, unnamed.stderr
    assert "/main/" not in unnamed.stdout


def test_a_token_for_main_has_the_urls_of_the_root(promote: Typed, wheelyard: Typed) -> None:
    """The lines for CI of a token for main have no name of an index in their URLs."""
    assert promote("--from", "dev", "--to", "main").returncode == 0

    done = wheelyard("token", "create", "ci", "--index", "main", "--for-ci", "gitlab")

    assert (done.returncode, "YOUR-INDEX/legacy/" in done.stderr) == (0, True), done.stderr
    assert "YOUR-INDEX/main" not in done.stderr


def test_an_upload_names_its_index(promote: Typed, wheelyard: Typed) -> None:
    """While main is empty beside others, an upload without --index is refused with their names."""
    refused = wheelyard("upload", WHEEL.filename)

    assert refused.returncode == 1
    assert "upload to one of the indexes: dev, prod" in refused.stderr
    assert promote("--from", "dev", "--to", "main").returncode == 0
    assert wheelyard("upload", WHEEL.filename).returncode == 0


def test_a_requirement_that_the_target_lacks(wheelyard: Typed, sandbox: Sandbox) -> None:
    """`promote`, its dry run and `delete` warn of a release that nobody could install."""
    (sandbox.folder / "wheelyard.toml").write_text('[store]\nlocation = "there"\n')
    put_tables_at(sandbox.folder / "there", toml_of(index=({"name": "dev"}, {"name": "prod"})))
    core = make_requiring("acme-core", "1.2", "acme-lib>=1")
    for distribution in (core, make_requiring("acme-lib", "1.3")):
        (sandbox.folder / distribution.filename).write_bytes(distribution.body)
        assert wheelyard("upload", distribution.filename, "--index", "dev").returncode == 0
    route = ("--from", "dev", "--to", "prod")
    lacking = "acme-core 1.2 requires acme-lib>=1, which prod does not show: promote it, too."
    after = "After this, acme-core 1.2 has no acme-lib>=1 in prod."

    trial = wheelyard("promote", "acme-core", "1.2", *route, "--dry-run")
    first = wheelyard("promote", "acme-core", "1.2", *route)
    library = wheelyard("promote", "acme-lib", "1.3", *route)
    again = wheelyard("promote", "acme-core", "1.2", *route)
    delete = ("delete", "acme-lib", "1.3", "--index", "prod")
    deletions = [wheelyard(*delete, "--dry-run"), wheelyard(*delete, "--yes")]

    for done in (trial, first):
        assert (done.returncode, lacking in done.stderr) == (0, True)
    assert (library.stderr, again.stderr) == ("", "")
    for done in deletions:
        assert (done.returncode, done.stderr.count(after)) == (0, 1)
