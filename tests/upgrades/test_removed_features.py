"""
The store of a version with features that this one does not have: it serves, and is changed.

It has one of each: rules and approvals of promotions (one release was promoted, 2.0 waits), a
changed password (of ana), logins by browser (one waits, one had a wrong code, one is approved, and
one has made a token), counts of downloads by file and installer, kept public files, a request that
mail has told of, a description with a picture, and a release that was deleted at once everywhere.
Beside answers, `removed.json` has the codes of the logins, the passwords, and cookies of sessions.
"""

import gzip
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import json
from msgspec.structs import replace

from tests.advice import texts_of
from tests.authentication.verifiers.test_password_hashes import SHA512
from tests.cli.conftest import Typed
from tests.cli.conftest import wheelyard as _wheelyard
from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.browser import Browser
from tests.http.in_process import InProcessServer, in_process
from tests.http.packages import form
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE
from tests.upgrades.kept_stores import (
    FOLDER,
    KeptStore,
    answers_of_this_version,
    missing,
    read_kept_store,
)
from wheelyard.api.health_operations import show_health
from wheelyard.api.operation import Call
from wheelyard.authentication.passwords import with_line
from wheelyard.catalog import keys
from wheelyard.downloads.folding import SETTLED_SECONDS, fold
from wheelyard.settings.load import LoadedSettings, load_settings
from wheelyard.storage.base import Stored
from wheelyard.storage.forwarding import PrefixedStore
from wheelyard.wiring.warnings import server_warnings

SETTINGS_FILE: Final = FOLDER / "removed.toml"
LOGINS: Final = 3
"""The objects of logins that the store has."""
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
TABLES: Final = toml_of(grant=tomllib.loads(SETTINGS_FILE.read_text())["grant"])
"""The grants of the settings, which this version has in the store."""
VARIABLES: Final = {"WHEELYARD_NOTIFICATIONS_SMTP_PASSWORD": "of-nobody"}
wheelyard = _wheelyard


@pytest.fixture(scope="module")
def kept_store() -> KeptStore:
    """The store, as it was made."""
    return read_kept_store("removed")


@pytest.fixture(scope="module")
def secrets() -> dict[str, Any]:
    """The codes, passwords and cookies of the people of the store."""
    decoded: dict[str, Any] = json.decode((FOLDER / "removed.json").read_bytes())
    return decoded


@pytest.fixture(scope="module")
def loaded_settings() -> LoadedSettings:
    """The settings that the store was made under, as this version reads them."""
    return load_settings(file=SETTINGS_FILE, environ=VARIABLES, passes_over_index=True)


@pytest.fixture
def server(
    kept_store: KeptStore, loaded_settings: LoadedSettings, tmp_path: Path
) -> Iterator[InProcessServer]:
    """Serve a copy of the store."""
    store = kept_store.in_memory()
    settings, sources = loaded_settings.settings, loaded_settings.sources
    with in_process(tmp_path, settings, store=store, sources=sources, tables=TABLES) as opened:
        yield opened


def bearer(kept: KeptStore, name: str) -> tuple[str, str]:
    """Return the header of requests with one of the kept tokens."""
    return ("Authorization", f"Bearer {kept.seen.tokens[name]}")


def api_of(server: InProcessServer) -> Call:
    """Return a call of an operation by whoever runs commands on the store."""
    return Call(index=server.index, caller=ALICE)


def post(
    server: InProcessServer, path: str, token: tuple[str, str], status: int = 0, **fields: object
) -> Any:  # noqa: ANN401 - any JSON
    """Return what the API answers to a change."""
    body = json.encode(fields)
    length = ("Content-Length", str(len(body)))
    kind = ("Content-Type", "application/json")
    answer = server.get(path, token, kind, length, method="POST", body=[body])
    assert answer.status in ({status} if status else {200, 201}), (path, answer.body)
    return json.decode(answer.body)


def publish(server: InProcessServer, root: str, version: str, token: tuple[str, str]) -> None:
    """Upload a release of shop, as twine does."""
    body = form(make_wheel("shop", version))
    length = ("Content-Length", str(len(body)))
    kind = ("Content-Type", "multipart/form-data; boundary=frontier")
    answer = server.get(f"{root}/legacy/", token, kind, length, method="POST", body=[body])
    assert answer.status == 200, answer.body


def versions(server: InProcessServer, root: str, token: tuple[str, str]) -> list[str]:
    """Return the versions of shop that clients see in an index."""
    accept = ("Accept", "application/vnd.pypi.simple.v1+json")
    answer = server.get(f"{root}/simple/shop/", token, accept)
    assert answer.status == 200, answer.body
    return list(json.decode(answer.body)["versions"])


def test_what_stays_is_seen(
    kept_store: KeptStore, loaded_settings: LoadedSettings, tmp_path: Path
) -> None:
    """Pages, files, tokens and journals of a store with removed features are answered as before."""
    wanted, seen = (
        kept_store.seen,
        answers_of_this_version(
            tmp_path, kept_store.in_memory(), kept_store.seen, loaded_settings.settings
        ),
    )
    # those of the settings are not in a store before somebody applies their file
    rights = wanted.answers["/api/v1/access"]
    of_store = [grant for grant in rights["grants"] if grant["source"] == "store"]
    answers = {**wanted.answers, "/api/v1/access": {**rights, "grants": of_store}}
    assert missing(answers, seen.answers) == []
    assert missing(wanted.files, seen.files) == []
    assert missing(wanted.tokens, seen.tokens) == []


def test_a_check_finds_nothing(server: InProcessServer) -> None:
    """A check finds no fault in a store with removed features, and a sweep leaves none."""
    for sweep in (False, True):
        findings = server.index.server.check.run(rebuild=False, sweep=sweep)
        assert findings.problems == findings.repaired == []


def test_it_is_changed(server: InProcessServer, kept_store: KeptStore) -> None:
    """A store with removed features takes uploads, yanks, deletions and promotions without harm."""
    admin = bearer(kept_store, "admin")
    post(server, "/api/v1/indexes/make", admin, index={"name": "open"})
    publish(server, "/dev", "4.0", admin)
    post(server, "/dev/api/v1/projects/shop/yank", admin, version="1.0", reason="broken")
    post(server, "/dev/api/v1/projects/shop/restore", admin, version="3.0", reason="needed")
    post(server, "/dev/api/v1/projects/shop/delete", admin, version="2.0", reason="old")
    post(server, "/dev/api/v1/projects/shop/promote", admin, version="4.0", to="open")

    assert versions(server, "/dev", admin) == ["1.0", "3.0", "4.0"]
    assert versions(server, "/prod", admin) == ["1.0"]
    assert versions(server, "/open", admin) == ["4.0"]
    findings = server.index.server.check.run(rebuild=False, sweep=True)
    assert findings.problems == findings.repaired == []


def test_a_removed_rule_keeps_releases_back(server: InProcessServer, kept_store: KeptStore) -> None:
    """Nothing is promoted to prod until the command of the refusal takes its rules away."""
    admin = bearer(kept_store, "admin")
    release: dict[str, Any] = {"version": "3.0", "to": "prod"}
    post(server, "/dev/api/v1/projects/shop/restore", admin, version="3.0", reason="needed")

    refused = post(server, "/dev/api/v1/projects/shop/promote", admin, status=403, **release)

    assert refused["error"] == "removed_rule"
    rules = ("promote_other_person", "promote_min_age_days", "promote_approvals")
    command = f"'wheelyard index change prod {' '.join(f'{rule}=' for rule in rules)}'."
    assert command in refused["message"]
    assert any(command in text for text in texts_of(show_health(api_of(server)).warnings))
    noted = server.index.server.check.run(rebuild=False).notes
    assert any(command in note for note in texts_of(noted))
    taken_away = dict.fromkeys(rules)
    post(server, "/api/v1/indexes/change", admin, name="prod", index=taken_away)
    noted = server.index.server.check.run(rebuild=False).notes
    assert not any("prod" in note for note in texts_of(noted))
    post(server, "/dev/api/v1/projects/shop/promote", admin, **release)
    assert versions(server, "/prod", admin) == ["1.0", "3.0"]


def test_counts_lose_files_and_installers(server: InProcessServer, kept_store: KeptStore) -> None:
    """Counts stay as they were, and have no filename and no installer once they are written."""
    store, path = server.index.stores.documents, "/dev/api/v1/projects/shop/downloads?days=400"
    admin = bearer(kept_store, "admin")
    before = json.decode(server.get(path, admin).body)
    assert sum(count["downloads"] for count in before["by_version"]) == before["downloads"] > 1

    for prefix in ("", "indexes/dev/"):
        fold(PrefixedStore(store, prefix), server.clock.seconds() + SETTLED_SECONDS + 1)

    server.clock.advance(minutes=2)
    assert json.decode(server.get(path, admin).body) == before
    months = [entry.key for entry in store.list("") if "/months/" in entry.key]
    assert months
    for key in months:
        stored = store.get(key)
        assert isinstance(stored, Stored)
        assert not re.search(rb"\.whl|\.tar\.gz|pip |uv ", gzip.decompress(stored.body)), key


def test_the_token_of_a_login_works(server: InProcessServer, kept_store: KeptStore) -> None:
    """A token that a login by browser has made reads and uploads, until it expires."""
    token = bearer(kept_store, "of-login")
    publish(server, "", "1.0", token)
    assert versions(server, "", token) == ["1.0"]


def test_a_description_with_pictures_is_deleted(
    server: InProcessServer, kept_store: KeptStore
) -> None:
    """A removal at once also deletes what was stored to show a description with pictures."""
    documents = server.index.stores.documents
    assert any(documents.list(keys.DESCRIPTIONS))
    admin = bearer(kept_store, "admin")
    accept = ("Accept", "application/vnd.pypi.simple.v1+json")
    files = json.decode(server.get("/simple/home/", admin, accept).body)["files"]
    (digest,) = (file["hashes"]["sha256"] for file in files if "-2.0" in file["filename"])
    body: dict[str, Any] = {"sha256": digest, "reason": "a secret"}
    post(server, "/api/v1/projects/home/delete-now", admin, **body)
    assert not any(documents.list(keys.DESCRIPTIONS))


def test_removed_settings_are_named(server: InProcessServer, kept_store: KeptStore) -> None:
    """Health names each setting that has no effect any more."""
    answer = server.get("/api/v1/health", bearer(kept_store, "admin"))
    warnings = "\n".join(warning["message"] for warning in json.decode(answer.body)["warnings"])
    for name in ("web.pictures", "notifications.mail_to", "notifications.smtp_host"):
        assert f"{name}, from {SETTINGS_FILE}: it was removed" in warnings


def may_sign_in(server: InProcessServer, name: str, password: str) -> bool:
    """Return whether somebody signs in in a browser with a name and a password."""
    return Browser(server).sign_in(name, password).status == 303


def test_who_had_changed_a_password_needs_another_line(
    kept_store: KeptStore, secrets: dict[str, Any], loaded_settings: LoadedSettings, tmp_path: Path
) -> None:
    """Neither password of Ana counts until her line is replaced; then a sweep ends it all."""
    file = tmp_path / "htpasswd"
    file.write_bytes((FOLDER / "removed.htpasswd").read_bytes())
    settings = loaded_settings.settings
    own = replace(settings, access=replace(settings.access, htpasswd_file=str(file)))
    passwords = secrets["passwords"]
    with in_process(tmp_path, own, store=kept_store.in_memory(), clock=Clock()) as server:
        assert not any(may_sign_in(server, "ana", passwords[name]) for name in ("ana", "before"))
        assert all(may_sign_in(server, name, passwords[name]) for name in ("bo", "cy"))
        for name, status in (("ana", 401), ("cy", 200)):
            browser = Browser(server, dict(secrets["sessions"][name]))
            assert browser.open("/-/account/").status == status
        warnings = texts_of(server_warnings(server.index))
        warnings = [text for text in warnings if "in the browser" in text]
        assert [": ana. Give each" in text for text in warnings] == [True]
        assert server.index.server.check.run(sweep=True).swept == LOGINS

        file.write_text(with_line(file.read_text(), "ana", SHA512))
        server.clock.advance(seconds=5)

        assert may_sign_in(server, "ana", "s3cret")
        warnings = texts_of(server_warnings(server.index))
        assert not any("in the browser" in text for text in warnings)
        assert server.index.server.check.run(sweep=True).swept == 1
        left = [entry.key for entry in server.index.stores.credentials.list("credentials/")]
        assert not any(key.startswith(("credentials/logins", "credentials/pass")) for key in left)


def test_logins_that_wait_are_refused(server: InProcessServer, secrets: dict[str, Any]) -> None:
    """No login by browser gives a token any more, whatever had become of it."""
    before = len(server.index.tokens.all())
    bo = Browser(server)
    assert bo.sign_in("bo", secrets["passwords"]["bo"]).status == 303
    for login in secrets["logins"].values():
        assert bo.open(login["page"]).status == 404
        fields = {"grant_type": GRANT_TYPE, "device_code": login["device_code"]}
        assert bo.send("/_/login/token", fields).status == 401
    assert len(server.index.tokens.all()) == before


@pytest.mark.integration
def test_commands(kept_store: KeptStore, tmp_path: Path, wheelyard: Typed) -> None:
    """Commands check, copy, publish to and export a store with removed features."""
    store, copy = kept_store.in_folder(tmp_path / "store"), tmp_path / "copy"
    new = make_wheel("shop", "5.0")
    (tmp_path / new.filename).write_bytes(new.body)
    config = tmp_path / "removed.toml"
    config.write_text(SETTINGS_FILE.read_text().partition("[[grant]]")[0])
    shutil.copy(FOLDER / "removed.htpasswd", tmp_path)
    common = ("--config", config)
    checked = wheelyard("config", "check", "--store", store, *common, **VARIABLES)
    assert "not possible any more: ana. Give each another line" in checked.stderr
    for command in (
        ("check", "--sweep", "--store", store, *common),
        ("copy", "--with-credentials", store, copy, *common),
        ("check", "--store", copy, *common),
        ("upload", tmp_path / new.filename, "--store", store, *common),
        ("export", tmp_path / "site", "--store", store, *common),
    ):
        done = wheelyard(*command, **VARIABLES)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert "5.0" in (tmp_path / "site/simple/shop/index.html").read_text()
