"""Rules of indexes in commands: they are given, explained, copied and exported."""

import json

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.distributions import make_wheel
from tests.fake_time import START
from wheelyard.model.stored_indexes import IndexMade
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index

pytestmark = pytest.mark.integration

STABLE = ("stable", "layers=main", "read=anyone", "prereleases=false", "versions=demo = <3; x = >1")


@pytest.fixture
def store(sandbox: Sandbox, wheelyard: Typed) -> str:
    """A store with a release and a pre-release in main, and an index with rules."""
    for version in ("1.0", "2.0rc1"):
        path = make_wheel("demo", version).write(sandbox.folder)
        assert wheelyard("upload", "--store", "store", path).returncode == 0
    assert wheelyard("index", "add", *STABLE, "--store", "store").returncode == 0
    return "store"


def hidden(wheelyard: Typed, *options: str) -> list[str]:
    """Return the versions of demo that `why` says are hidden."""
    explained = json.loads(wheelyard("why", "demo", "--json", *options).stdout)
    return [file["version"] for file in explained["files"] if not file["shown"]]


def test_keys_of_rules_are_those_of_an_index(store: str, wheelyard: Typed) -> None:
    """Keys of rules are listed as they were given, change, and are left out if empty."""
    listed = wheelyard("index", "list", "--store", store)
    before = hidden(wheelyard, "--index", "stable", "--store", store)
    changed = wheelyard(
        *("index", "change", "stable", "prereleases=", "cooldown_days=7", "--store", store)
    )
    why = wheelyard("why", "demo", "1.0", "--index", "stable", "--store", store)

    assert "prereleases false, versions demo=<3 x=>1" in listed.stdout
    assert before == ["2.0rc1"]
    assert changed.returncode == 0
    assert why.returncode == 1
    assert "less than 7 days ago. It is shown from" in why.stdout


def test_a_wrong_rule_is_refused_with_its_key(store: str, wheelyard: Typed) -> None:
    """A command that gives a wrong rule says which key is wrong, and changes nothing."""
    for word, message in (
        ("cooldown_days=soon", "cooldown_days: expected a number of days"),
        ("versions=demo", "Write each on a line, as NAME = VALUE"),
        ("versions=demo = 2", "versions: expected specifiers such as >=2,<3"),
        ("filter=yanked", "Keys of rules have replaced filters"),
    ):
        refused = wheelyard("index", "change", "stable", word, "--store", store)

        assert refused.returncode != 0
        assert message in refused.stderr
    assert hidden(wheelyard, "--index", "stable", "--store", store) == ["2.0rc1"]


def test_a_copy_has_the_rules(store: str, wheelyard: Typed) -> None:
    """An index with rules hides the same in a copy of its store."""
    assert wheelyard("copy", store, "other").returncode == 0

    assert hidden(wheelyard, "--index", "stable", "--store", "other") == ["2.0rc1"]
    assert hidden(wheelyard, "--store", "other") == []


def test_a_site_lacks_what_rules_hide(sandbox: Sandbox, store: str, wheelyard: Typed) -> None:
    """A static site of main with rules has no hidden file, also where it is exported again."""
    assert wheelyard("index", "change", "main", "prereleases=false", "--store", store).stdout
    site = sandbox.folder / "site"
    options = ("--store", store, "--base-url", "https://a.example")

    assert wheelyard("export", site, *options).returncode == 0
    assert wheelyard("export", site, *options).returncode == 0

    page = (site / "simple/demo/index.html").read_text()
    assert "demo-1.0" in page
    assert "2.0rc1" not in page
    assert not any("2.0rc1" in path.name for path in site.rglob("*"))


def test_config_check_prints_the_keys_of_a_filter(
    sandbox: Sandbox, store: str, wheelyard: Typed
) -> None:
    """The check names an index with a filter of an earlier version, and the keys instead."""
    index = open_index(Settings(store=StoreSettings(location=str(sandbox.folder / store))))
    filters = {"old": "age_days >= 7 and severity < 9", "older": "yanked or prerelease"}
    events = tuple(
        IndexMade(at=START, by="local:old", keys={"name": name, "filter": text})
        for name, text in filters.items()
    )
    index.server.definitions.records.change(lambda _: events)

    warnings = wheelyard("config", "check", "--store", store).stderr

    assert "Keys that say the same: cooldown_days = 7, min_cvss = 9." in warnings
    assert "No key says the same as: yanked or prerelease." in warnings
