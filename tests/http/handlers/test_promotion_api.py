"""Promotion by the API, with the rights that a credential has in each of two indexes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tests.authentication.publishing_fixture import MOMENT, genuine, signed
from tests.distributions import make_sdist, make_wheel
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from tests.model.jobs import AUDIENCE, GITHUB, GITHUB_SAYS
from tests.operations.in_memory_index import ALICE, OPEN_MAIN
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.access import Action, parse_right_indexes
from wheelyard.settings.sections import PublishingSettings, Settings

READERS = {"who": ["anonymous"], "projects": ["*"], "actions": ["read"]}
OTHERS = {"who": ["user:ana@acme.dev"], "projects": ["*"], "actions": ["upload"], "index": "prod"}


@contextmanager
def serving(folder: Path, *grants: dict[str, Any], **rules: object) -> Iterator[InProcessServer]:
    """Yield a server with a release in main, and an index `prod`; grants say who may read."""
    main = {**OPEN_MAIN, "read": "granted"} if grants else OPEN_MAIN
    tables = toml_of(main=main, index=({"name": "prod", **rules},), grant=grants)
    with in_process(folder, Settings(), tables=tables) as server:
        server.publish(make_wheel(), make_sdist())
        yield server


def post(server: InProcessServer, token: str, index: str = "") -> tuple[int, Any]:
    """Return the status and the JSON of the response to a promotion of release 1.0 of demo."""
    answer = server.get(
        f"{index and f'/{index}'}/api/v1/projects/demo/promote",
        ("content-type", "application/json"),
        ("authorization", f"Bearer {token}"),
        method="POST",
        body=(b'{"version": "1.0", "to": "prod"}',),
    )
    return answer.status, json.loads(answer.body)


def token_of(server: InProcessServer, index: str = "prod") -> str:
    """Return a new token that may upload to `prod`, or to other indexes."""
    indexes = parse_right_indexes(index, Action.UPLOAD)
    return server.index.tokens.create(TokenRequest(name="ci", indexes=indexes), "local:x")[0].text


def test_a_token_promotes_to_its_index(tmp_path: Path) -> None:
    """A token that names no index promotes nothing to another index than main; one of it does."""
    with serving(tmp_path, READERS, OTHERS) as server:
        refused = post(server, token_of(server, ""))
        assert (refused[0], refused[1]["error"]) == (403, "forbidden")
        assert "may not upload to 'demo' in the index prod." in refused[1]["message"]
        assert "--can upload --project demo --index main,prod'" in refused[1]["message"]

        assert post(server, token_of(server))[0] == 200


def test_a_rule_of_the_other_index(tmp_path: Path) -> None:
    """What a rule of the other index forbids is refused, and nothing is listed there."""
    with serving(tmp_path, promote_from=["dev"]) as server:
        refused = post(server, token_of(server))

        assert (refused[0], refused[1]["error"]) == (403, "promotion_refused")
        assert not server.index.named("prod").projects.names.get_current().names


def test_a_view_has_nothing_to_promote(tmp_path: Path) -> None:
    """Nothing is promoted from an index that only shows others, or from one as of a day."""
    with serving(tmp_path) as server:
        for view in ("as-of-2025-01-01", "prod/as-of-2025-01-01"):
            refused = post(server, token_of(server), index=view)
            assert (refused[0], refused[1]["error"]) == (404, "not_found"), view


def test_a_job_promotes_with_two_publishers(tmp_path: Path) -> None:
    """A CI job that fits a publisher of each index promotes from the one to the other."""
    job = {**GITHUB, "projects": ["demo"]}
    settings = Settings(
        trusted_publishing=PublishingSettings(audience=(AUDIENCE,)),
    )
    tables = toml_of(
        main=OPEN_MAIN,
        index=({"name": "dev"}, {"name": "prod"}),
        grant=({**OTHERS, "index": "dev"}, OTHERS),
        publisher=(
            {**job, "id": "gh-dev", "index": "dev", "actions": ["read"]},
            {**job, "id": "gh-prod", "index": "prod"},
        ),
    )
    with in_process(tmp_path, settings, clock=Clock(MOMENT), tables=tables) as server:
        dev = server.index.named("dev")
        dev.uploads.accept(make_wheel().arrival(tmp_path), ALICE)
        service = server.index.authenticator.trusted_publishing
        assert service is not None
        token = replace(service, verify=genuine).mint(signed(GITHUB_SAYS)).token.text

        status, promoted = post(server, token, index="dev")

        assert (status, promoted["promoted"][0]["promoted-by"]) == (200, "publisher:gh-dev,gh-prod")
