"""Trusted publishing over HTTP: a job's statement for a token, and the token for nothing."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.authentication.verifiers.fake_issuer import CannedResponse
from tests.distributions import make_wheel
from tests.http.in_process import in_process
from tests.http.jobs import AUDIENCE, BURN, DISCOVERY, MINT, Ci, refused, running_ci
from tests.http.packages import post
from tests.http.servers import Answer
from tests.waiting import until
from wheelyard.settings.sections import (
    AccessSettings,
    PublishingSettings,
    ServerSettings,
    Settings,
)
from wheelyard.wiring.stores import system_runtime

pytestmark = pytest.mark.integration


def test_from_statement_to_package(ci: Ci) -> None:
    """A job asks for the audience, shows its statement, uploads, and gives the token back."""
    audience = ci.server.get("/_/oidc/audience")
    assert (audience.status_code, audience.json()) == (200, {"audience": AUDIENCE})
    minted = ci.mint()
    assert minted.json().keys() == {"success", "token", "expires"}
    left = minted.json()["expires"] - system_runtime().now().timestamp()
    assert minted.json()["success"] is True
    assert 880 < left <= 901
    token = minted.json()["token"]
    assert post(ci.server, make_wheel("demo", "1.0"), token=token).status_code == 200
    assert post(ci.server, make_wheel("other", "1.0"), token=token).status_code == 403

    burnt = ci.ask(BURN, {"token": token})

    assert (burnt.status_code, burnt.json()) == (202, {})
    until(lambda: ci.server.get("/simple/", token).status_code == 401)
    assert post(ci.server, make_wheel("demo", "1.1"), token=token).status_code == 401
    assert ci.ask(BURN, {"token": token}).status_code == 202
    for answer in (audience, minted, burnt):
        assert answer.headers.get_list("Cache-Control") == ["no-store"]
        assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("header", ["Bearer wyd_x", f"Basic {'x' * 20_000}"])
def test_nobody_is_asked_who_they_are(ci: Ci, header: str) -> None:
    """No credential is looked at, nor the type of the body, at either path of older clients."""
    headers = {"Authorization": header, "Sec-Fetch-Site": "cross-site", "Content-Type": "x"}
    body = json.dumps({"token": ci.statement(), "features": ["single-use-token"]})

    minted = ci.server.client.post("/_/oidc/github/mint-token", content=body, headers=headers)

    assert minted.status_code == 200
    assert ci.server.client.get("/_/oidc/audience", headers=headers).status_code == 200
    token = {"token": minted.json()["token"]}
    assert ci.server.client.post(BURN, json=token, headers=headers).status_code == 202


def test_steps_are_at_the_root_of_the_host_too(tmp_path: Path) -> None:
    """Clients ask at the root of the host, also where the index is below a path prefix."""
    server = ServerSettings(path_prefix="/team", public_url="https://packages.example.com/team")
    with running_ci(tmp_path / "prefix", Settings(server=server)) as ci:
        for prefix in ("", "/team"):
            assert ci.server.get(f"{prefix}/_/oidc/audience").json() == {"audience": AUDIENCE}
            assert ci.server.get("/simple/").status_code == 404
            answer = ci.ask(f"{prefix}{MINT}", {"token": ci.statement()})
            token = {"token": answer.json()["token"]}
            assert ci.ask(f"{prefix}{BURN}", token).status_code == 202
            found = ci.server.get(f"{prefix}{DISCOVERY}?discover=%2Fteam%2Flegacy%2F").json()
            assert found["audience-endpoint"] == "https://packages.example.com/_/oidc/audience"
        assert ci.server.get(f"{DISCOVERY}?discover=%2Flegacy%2F").status_code == 404


def test_discovery_knows_the_path_that_a_proxy_takes_away(tmp_path: Path) -> None:
    """Clients find the steps by their upload URL, also where a proxy takes its prefix away."""
    server = ServerSettings(public_url="https://packages.example.com/team")
    with running_ci(tmp_path / "strip", Settings(server=server)) as ci:
        found = ci.server.get(f"{DISCOVERY}?discover=%2Fteam%2Flegacy%2F").json()
        assert found["audience-endpoint"] == "https://packages.example.com/_/oidc/audience"
        for path in (
            "%2Flegacy%2F",
            "%2Fteam",
            "%2Fteamlegacy%2F",
            "x%2Fteam%2Flegacy%2F",
        ):
            assert ci.server.get(f"{DISCOVERY}?discover={path}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b'{"token": 1}', b'{"token": "a.b.c"}', b'{"token": "\\ud800"}'),
        *(b"[" * 10_000, b'{"token": "' + b"x" * 9000 + b'.x.x"}'),
    ],
)
def test_body_without_a_statement_is_refused(ci: Ci, body: bytes) -> None:
    """A body without a signed statement in it is refused in the form that clients read."""
    headers = {"X-Forwarded-For": "192.0.2.77"}
    assert refused(ci.server.client.post(MINT, content=body, headers=headers)) == "invalid-payload"


def test_statement_of_another_job(ci: Ci) -> None:
    """A refusal for another job's ID token names its claims, not the expected ones."""
    answer = ci.mint(sub="repo:acme/fork:environment:release")

    assert refused(answer) == "invalid-publisher"
    assert "acme/fork" in answer.text
    assert "acme/demo" not in answer.text


def test_a_refusal_does_not_use_a_statement_up(tmp_path: Path) -> None:
    """A job that came while its issuer was down gets a token for the same statement later."""
    seconds = [1000.0]
    runtime = replace(system_runtime(), monotonic=lambda: seconds[0])
    with running_ci(tmp_path / "down", runtime=runtime) as ci:
        statement, keys = ci.statement(), ci.issuer.answers["/keys"]
        ci.issuer.answers["/keys"] = CannedResponse(status=500)
        first = ci.ask(MINT, {"token": statement})
        ci.issuer.answers["/keys"] = keys

        seconds[0] += waits(first)
        second = ci.ask(MINT, {"token": statement})

        assert refused(first, 503)
        assert second.status_code == 200
        assert len([token for token in ci.index.tokens.all() if token.publishers]) == 1


def waits(response: Answer) -> int:
    """Return the seconds to wait, which header and text have to say alike."""
    seconds = response.headers["Retry-After"]
    assert f"Try again in {seconds} second" in response.json()["detail"]
    return int(seconds)


@pytest.mark.parametrize("path", [MINT, BURN])
def test_long_body_is_refused(ci: Ci, path: str) -> None:
    """A body over 32 KiB is refused, whether or not its length is announced."""

    def pieces() -> Iterator[bytes]:
        yield from (b'{"token": "', b"x" * 40_000, b'"}')

    for content in (b"".join(pieces()), pieces()):
        assert refused(ci.server.client.post(path, content=content), 413) == "too_large"
    assert refused(ci.server.client.post(path, content=b"{}")) == "invalid-payload"


def test_address_gets_sixty_answers_a_minute(fresh_ci: Ci) -> None:
    """An address gets sixty answers a minute, then it is told when to come again; others do not."""
    again = {"token": fresh_ci.statement()}
    codes = [fresh_ci.ask(MINT, again).status_code for _ in range(62)]
    answer = fresh_ci.ask(MINT, {"token": fresh_ci.statement()}, "192.0.2.200")

    assert (codes[:60], codes[-1]) == ([200] + [422] * 59, 429)
    assert refused(answer, 429) == "rate-limited"
    assert 1 <= waits(answer) <= 60
    assert fresh_ci.ask(MINT, {"token": fresh_ci.statement()}, "198.51.100.1").status_code == 200
    assert fresh_ci.ask(BURN, {"token": "x"}).status_code == 202
    assert fresh_ci.server.get("/_/oidc/audience").status_code == 200


def test_parallel_requests_get_no_more_answers(fresh_ci: Ci) -> None:
    """Of many requests that an address sends at once, no more are answered than one by one."""
    again = {"token": fresh_ci.statement()}

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: fresh_ci.ask(MINT, again).status_code, range(120)))

    assert Counter(answers) == {200: 1, 422: 59, 429: 60}


def test_garbage_keeps_no_job_out(fresh_ci: Ci) -> None:
    """What is no genuine statement is counted apart: jobs behind the same address get tokens."""
    garbage: tuple[object, ...] = ({}, [], {"token": "x"}, {"token": "x" * 40_000})
    for path, status in ((MINT, 422), (BURN, 202)):
        codes = [fresh_ci.ask(path, {"token": "x.y"}).status_code for _ in range(62)]
        assert (codes[:60], codes[-1]) == ([status] * 60, 429)
        for body in garbage:
            assert refused(fresh_ci.ask(path, body), 429) == "rate-limited"

    invented = [fresh_ci.ask(MINT, {"token": "x.y.z"}).status_code for _ in range(62)]

    minted = fresh_ci.mint()

    assert 429 in invented
    assert minted.status_code == 200
    token = {"token": minted.json()["token"]}
    assert fresh_ci.ask(BURN, token).status_code == 202
    assert post(fresh_ci.server, make_wheel("demo", "1.0"), token=token["token"]).status_code == 401


def test_only_minted_tokens_burn(ci: Ci) -> None:
    """Neither a token that was not minted nor one with a wrong secret is revoked here."""
    lasting, minted = ci.server.token, ci.token()
    wrong = minted[:20] + lasting[20:]

    for text in (lasting, wrong, minted[:14], "wyd_", "", "x" * 9000, "ä"):
        answer = ci.ask(BURN, {"token": text})
        assert (answer.status_code, answer.json()) == (202, {})

    assert ci.server.get("/simple/", lasting).status_code == 200
    assert post(ci.server, make_wheel("demo", "4.0"), token=minted).status_code == 200


def test_log_names_each_token_and_has_no_secret(
    fresh_ci: Ci, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has a line for each token, with whom it is for, and no statement and no token."""
    caplog.set_level(logging.DEBUG)
    statement = fresh_ci.statement(sha="0123abcd")
    token = fresh_ci.ask(MINT, {"token": statement}).json()["token"]
    fresh_ci.ask(MINT, {"token": statement})
    fresh_ci.mint(sub="nobody\nwyd_x")
    fresh_ci.ask(BURN, {"token": token})
    fresh_ci.ask(BURN, {"token": fresh_ci.server.token})

    lines = [
        record.getMessage() for record in caplog.records if record.name.startswith("wheelyard")
    ]
    about = [line for line in lines if token[4:14] in line]
    assert len(about) == 2
    assert about[0].startswith(f"token minted by publisher:ci-demo: {token[4:14]}, ")
    for logged in (f"issuer {fresh_ci.issuer.url}", "subject repo:acme/demo", "commit 0123abcd"):
        assert logged in about[0]
    assert about[1].startswith(f"token revoked by publisher:ci-demo: {token[4:14]}, ")
    assert [line for line in lines if "invalid-reuse-token" in line]
    secrets = (statement, *statement.split("."), token, token[14:], fresh_ci.server.token[14:])
    assert not [secret for secret in secrets if secret in caplog.text]
    assert "nobody" not in caplog.text


def test_a_publisher_of_the_store_is_as_good(ci: Ci) -> None:
    """A publisher that is added while the server runs gives tokens, until it is removed."""
    publishers, sub = ci.index.server.publishers, "repo:acme/tools:environment:release"
    (first,) = (row.keys for row in publishers.show())
    assert refused(ci.mint(sub=sub)) == "invalid-publisher"
    added = {**first, "id": "ci-tools", "match": {"sub": sub}, "projects": ["tools"]}

    publishers.add(added, "local:bo")

    minted = ci.mint(sub=sub)
    assert minted.status_code == 200, minted.text
    token, other = minted.json()["token"], ci.token()
    assert post(ci.server, make_wheel("tools", "1.0"), token=token).status_code == 200
    assert post(ci.server, make_wheel("demo", "7.0"), token=token).status_code == 403
    publishers.remove("ci-tools", "local:bo")
    until(lambda: ci.server.get("/simple/", token).status_code == 401)
    assert post(ci.server, make_wheel("tools", "1.1"), token=token).status_code == 401
    assert post(ci.server, make_wheel("demo", "7.0"), token=other).status_code == 200
    assert refused(ci.mint(sub=sub)) == "invalid-publisher"


def test_the_first_publisher_may_be_one_of_the_store(tmp_path: Path) -> None:
    """Where the settings have only an audience, clients are told of it with the first publisher."""
    settings = Settings(trusted_publishing=PublishingSettings(audience=(AUDIENCE,)))
    with in_process(tmp_path, settings) as server:
        audience = "/_/oidc/audience"
        assert server.get(audience).status == 404

        server.index.server.publishers.add(
            {"id": "ci", "provider": "buildkite", "organization": "acme", "pipeline": "x",
             "build_branch": "main", "projects": ["demo"]},
            "local:bo",
        )  # fmt: skip

        assert (server.get(audience).status, AUDIENCE in str(server.get(audience).body)) == (
            200,
            True,
        )


def test_discovery_names_no_host_that_a_request_made_up(fresh_ci: Ci, tmp_path: Path) -> None:
    """Where the index does not know its own name, it does not take one from a request."""
    path = f"{DISCOVERY}?discover=%2Flegacy%2F"
    assert fresh_ci.server.get(path).status_code == 404

    access = AccessSettings(trusted_hosts=("packages.acme.test",))
    with running_ci(tmp_path / "hosts", Settings(access=access)) as ci:
        found = ci.server.get(path, Host="packages.acme.test").json()
        assert found["audience-endpoint"] == "https://packages.acme.test/_/oidc/audience"
