"""The first page for administrators."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.http.handlers.admin.administering import TABLES, Administrator, settings_in
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import put_tables, toml_of
from tests.operations.in_memory_index import ALICE
from wheelyard.api import health_operations
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.errors import Unavailable
from wheelyard.settings.sections import DownloadSettings, ServerSettings

RULE = '[[retention]]\nkeep_last = 1\nnote = "few"\n'
DAILY = ServerSettings(public_url="http://index", daily_retention=True)


def test_figures_say_what_asks_for_a_look(tmp_path: Path) -> None:
    """The page says how much is stored, what was uploaded lately, and which tokens end soon."""
    put = toml_of(main={"index_size": 1}) + TABLES
    with in_process(tmp_path, settings_in(tmp_path), tables=put) as server:
        server.publish(make_wheel("old"))
        server.clock.advance(days=40)
        server.publish(make_wheel("demo"), make_wheel("demo", "2.0"))
        admin = Administrator.of(server)
        calm = admin.read("")
        request = TokenRequest(name="ci", lifetime=timedelta(days=3))
        server.index.tokens.create(request, "local:bo")
        page = admin.read("")
        figures = re.findall(
            r'class="figure small" role="img" aria-label="([^"]+)"', admin.open("").body.decode()
        )

    assert "Projects 1 of 2 in main got a file in the last 30 days" in page
    assert figures == [
        "Projects by the day of their newest file",
        "Downloads from all indexes on each of the last 30 days",
    ]
    assert "of the quota of main" in page
    assert "Downloads 0 in the last 30 days" in page
    assert "API tokens 0 end within 14 days" in calm
    assert "API tokens 1 ends within 14 days" in page
    assert not re.search("Retention (by hand|now|[0-9])", page)
    assert "for a decision" not in page


def test_downloads_that_are_not_counted_have_no_figure(tmp_path: Path) -> None:
    """Where downloads are not counted, the page has no number of them, and all other figures."""
    settings = settings_in(tmp_path, downloads=DownloadSettings(count=False))
    with in_process(tmp_path, settings, tables=TABLES) as server:
        page = Administrator.of(server).read("")

    assert ("Downloads" in page, "Projects 0 of 0" in page) == (False, True)


def test_the_next_run_of_retention_is_named(tmp_path: Path) -> None:
    """With rules, the page says when the next daily run comes, or that none does."""
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as server:
        put_tables(server.index, RULE)
        assert "Retention by hand no daily run" in Administrator.of(server).read("")
    settings = settings_in(tmp_path, server=DAILY)
    with in_process(tmp_path / "daily", settings, tables=TABLES) as server:
        put_tables(server.index, RULE)
        admin, retention = Administrator.of(server), server.index.server.retention
        assert retention is not None
        assert "Retention now the next run is due" in admin.read("")
        first = retention.rules_record.ensure_first_run()
        assert f"Retention {first:%Y-%m-%d %H:%M} UTC, the next run" in admin.read("")
        # another rule, which is applied by hand before a server has looked at it
        put_tables(server.index, RULE.replace("1", "2"))
        retention = server.index.server.retention
        assert retention is not None
        retention.run(ALICE)
        tomorrow = server.clock.now + timedelta(days=1)
        assert f"Retention {tomorrow:%Y-%m-%d %H:%M} UTC, the next run" in admin.read("")


def test_one_thing_to_look_at_is_no_plural(
    admin: Administrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page counts what asks for a look in words that fit the number."""
    several = admin.read("")
    # the file with weak passwords is left
    monkeypatch.setattr(health_operations, "setting_warnings", lambda _: ())

    one = admin.read("")

    assert re.search("Health [2-9] things to look at", several)
    assert "Health 1 thing to look at" in one


def test_a_figure_that_is_unknown_hides_no_other(
    admin: Administrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store does not answer for one figure, its tile says so, and the rest is there."""

    def fail(*_: object) -> object:
        raise Unavailable("The store does not answer. Try again.")

    monkeypatch.setattr(type(admin.server.index.caller_tokens), "visible", fail)

    page = admin.read("")

    assert "API tokens unknown The store does not answer." in page
    assert "Storage" in page


@pytest.mark.parametrize("name", ["reader", "stranger"])
def test_the_overview_is_for_administrators(server: InProcessServer, name: str) -> None:
    """Who is no administrator does not see the first page for administrators."""
    assert Administrator.of(server, name).open("").status == 403
    assert server.get("/-/admin/").status == 401
