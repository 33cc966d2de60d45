"""Logins of programs at servers that die: one approval is one token at most, and never two."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import httpx2
import pytest

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.fake_gcs.faults import Hold
from tests.instances.bucket_cluster import BucketCluster, Instance
from tests.logins import USER, decide
from tests.services.service import Service
from wheelyard.api.device_login import GRANT_TYPE

pytestmark = pytest.mark.slow

CONFIG = """
[access]
cookie_login = true
htpasswd_file = "htpasswd"

[[grant]]
who = ["htpasswd:ana"]
projects = ["*"]
actions = ["upload"]
"""


@pytest.fixture
def options(cluster: BucketCluster) -> tuple[str, str]:
    """The options of every server: Ana has a password there."""
    (cluster.folder / "htpasswd").write_text(f"{USER}:{SHA}\n")
    config = cluster.folder / "wheelyard.toml"
    config.write_text(CONFIG)
    return "--config", str(config)


def post(instance: Instance, path: str, **fields: str) -> dict[str, str]:
    """Send a form as a program does, and return the answer."""
    kind = "application/x-www-form-urlencoded"
    _, body = instance.ask("POST", path, urlencode(fields), Content_Type=kind)
    answer: dict[str, str] = json.loads(body)
    return answer


def fetched(instance: Instance, login: dict[str, str]) -> str:
    """Ask for the token of a login, and return it or the code of the error."""
    code = login["device_code"]
    answer = post(instance, "/_/login/token", grant_type=GRANT_TYPE, device_code=code)
    return answer.get("access_token") or answer["error"]


def approve(instance: Instance, login: dict[str, str]) -> httpx2.Response:
    """Approve a login at one of the servers, whichever the program has asked."""
    port = f":{instance.port}/"
    return decide(re.sub(r":\d+/", port, login["verification_uri"], count=1), login["user_code"])


def token_ids(cluster: BucketCluster) -> list[str]:
    """Return the ids of all tokens, as a new process sees them."""
    listed = json.loads(cluster.succeed("token", "list", "--json"))
    return [token["id"] for token in listed["tokens"]]


def test_a_login_outlives_its_servers(
    service: Service, cluster: BucketCluster, options: tuple[str, str]
) -> None:
    """Servers are killed after the question and at the approval; the program gets one token."""
    with cluster.serving("", *options) as third:
        with cluster.serving("", *options) as first:
            login = post(first, "/_/login/device", host="anas-laptop")
            first.kill()
        with cluster.serving("", *options) as second, ThreadPoolExecutor(1) as pool:
            assert fetched(second, login) == "authorization_pending"
            hold = Hold("after")
            service.faults.add(hold, "insert", "credentials/logins/*")
            answer = pool.submit(approve, second, login)
            hold.wait()
            second.kill()
            hold.abandon()
            assert isinstance(answer.exception(), httpx2.TransportError)
        service.faults.clear()

        token = fetched(third, login)

        with cluster.serving("", *options) as fourth:
            assert fetched(fourth, login) == "invalid_grant"
            status, body = fourth.ask("GET", "/api/v1/whoami", Authorization=f"Bearer {token}")
        assert (status, json.loads(body)["principal"]) == (200, f"token:{token[4:14]}")
        assert token_ids(cluster) == [token[4:14]]
