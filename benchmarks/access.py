"""Cost of private pages, by credential, beside public ones; and of guesses, for one reader."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

import bcrypt

from benchmarks.client_headers import PIP
from benchmarks.load import page_rate
from benchmarks.processes import microseconds_each
from benchmarks.report import Figure, in_turn
from benchmarks.servers import Server, basic, wheelyard
from benchmarks.stores import collection, fill_wheelyard
from tests.authentication.verifiers.fake_issuer import Bearer, FakeIssuer, rsa_key, running_issuer
from tests.index_tables import put_tables_at
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.access import EVERY_PROJECT, Action
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index

ROUNDS = 4
SECONDS = 1
PUBLIC, PRIVATE = "/simple/project-00000/", "/simple/project-00001/"
AUDIENCE = "https://packages.example"
STATIC = "a-static-token-for-benchmarks"
PASSWORD = "correct horse battery staple"  # noqa: S105 - it opens nothing but this benchmark
ACCESS_TOKEN = "ya29." + "x" * 200
GUESSES = 10_000
"""Wrong passwords a minute."""
GUESSERS = 8
KEY = rsa_key("google")
SETTINGS = """
[main]
read = "granted"
[access]
htpasswd_file = "{folder}/htpasswd"
htpasswd_may = []
static_tokens_file = "{folder}/tokens.toml"
[google]
allow_private = true
[google.id_token]
audience = ["{audience}"]
[google.access_token]
resource = "gs://acme-authz"
"""
TABLES = """
[[grant]]
who = ["anonymous"]
projects = ["project-00000"]
actions = ["read"]
[[grant]]
who = ["htpasswd:ana", "user:ana@acme.example"]
projects = ["*"]
actions = ["read"]
"""


def measure(folder: Path) -> list[Figure]:
    """Measure private pages by credential, beside public ones, and a reader beside guesses."""
    store = folder / "store"
    fill_wheelyard(store, collection(2, 20))
    with running_issuer() as google, _serving(folder, store, google) as server:
        headers = _credentials(store)
        figures = [_cost(server, name, header) for name, header in headers.items()]
        figures.append(_beside_guesses(server, headers["htpasswd (bcrypt)"]))
        return figures


def _cost(server: Server, name: str, header: str) -> Figure:
    """Return a figure: processor time of a private page with a credential beside a public one."""
    private = PIP | {"Authorization": header}
    ours, theirs = in_turn(
        ROUNDS,
        lambda _: _cpu(server, PRIVATE, private),
        lambda _: _cpu(server, PUBLIC, PIP),
        warm=1,
    )
    return Figure(
        name=f"processor time of a private page, {name}",
        unit="us",
        ours=ours,
        theirs=theirs,
        versus="anonymous",
        target="< 1.15x",
    )


def _cpu(server: Server, path: str, headers: dict[str, str]) -> float:
    """Return the processor time that the server spends on one request, in microseconds."""
    rate = partial(page_rate, server, path, headers, connections=4, seconds=SECONDS)
    return microseconds_each(server, rate, SECONDS)


def _beside_guesses(server: Server, header: str) -> Figure:
    """Return a figure: page rates of a reader while clients guess passwords, beside without."""
    reader = PIP | {"Authorization": header}

    def rates() -> list[float]:
        rate = partial(page_rate, server, PRIVATE, reader, connections=4, seconds=SECONDS)
        return [rate() for _ in range(ROUNDS)]

    alone, end, answers = rates(), Event(), Counter[int]()
    with ThreadPoolExecutor(GUESSERS) as threads:
        guessing = [threads.submit(_guess, server, number, end) for number in range(GUESSERS)]
        time.sleep(1)
        beside = rates()
        end.set()
        for each in guessing:
            answers += each.result()
    told = ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))
    return Figure(
        name=f"beside {GUESSES:,} guesses a minute ({told})",
        unit="/s",
        ours=beside,
        theirs=alone,
        versus="alone",
        target="> 0.5x, guesses 429",
    )


def _guess(server: Server, number: int, end: Event) -> Counter[int]:
    """Send wrong passwords at an even pace until `end` is set; return responses by status."""
    answers = Counter[int]()
    connection = HTTPConnection("127.0.0.1", server.port)
    begun, sent = time.perf_counter(), 0
    while not end.wait(max(0.0, begun + sent * 60 * GUESSERS / GUESSES - time.perf_counter())):
        wrong = basic("ana", f"guess-{number}-{sent}")
        connection.request("GET", PRIVATE, headers={"Authorization": wrong})
        answer = connection.getresponse()
        answer.read()
        answers[answer.status] += 1
        sent += 1
    connection.close()
    return answers


def _credentials(store: Path) -> dict[str, str]:
    """Return Authorization headers, by the name of their credential; make an API token for them."""
    index = open_index(Settings(store=StoreSettings(location=str(store))))
    request = TokenRequest(
        name="benchmark",
        actions=Action.READ,
        projects=(EVERY_PROJECT,),
        lifetime=timedelta(days=1),
    )
    token = index.tokens.create(request, by="local:benchmark")[0].text
    now = int(time.time())  # noqa: TID251 - the server reads the same clock
    claims = {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "sub": "104857600123456789012",
        "email": "ana@acme.example",
        "email_verified": True,
        "hd": "acme.example",
        "iat": now,
        "exp": now + 3600,
    }
    return {
        "API token": basic("__token__", token),
        "static token": basic("__token__", STATIC),
        "htpasswd (bcrypt)": basic("ana", PASSWORD),
        "ID token": basic("oauth2accesstoken", KEY.token(claims)),
        "ID token as Bearer": f"Bearer {KEY.token(claims)}",
        "access token": basic("oauth2accesstoken", ACCESS_TOKEN),
    }


@contextmanager
def _serving(folder: Path, store: Path, google: FakeIssuer) -> Iterator[Server]:
    """Run a server that accepts each type of credential until the block ends; yield it."""
    google.serve_keys(KEY)
    google.bearers[ACCESS_TOKEN] = Bearer(frozenset({"storage.objects.get"}))
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    table = f'[[token]]\nname = "benchmark"\nvalue = "{STATIC}"\ncan = ["read"]\nprojects = ["*"]\n'
    said = SETTINGS.format(folder=folder, audience=AUDIENCE)
    for name, text in {
        "htpasswd": f"ana:{hashed}\n",
        "tokens.toml": table,
        "wheelyard.toml": said,
    }.items():
        (folder / name).write_text(text)
    config = folder / "wheelyard.toml"
    put_tables_at(store, TABLES, config)
    with wheelyard(store, "/health", "--config", config, more=google.environment) as server:
        yield server
