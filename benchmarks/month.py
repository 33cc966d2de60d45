"""
What a month of use costs in operations on a bucket, at list price.

Every request of one working week is sent to the application itself, in this process, over a bucket
in memory that counts operations; a month is 22 / 5 of that. The clock is the simulation's. It
stands still while a request is answered, so two requests never share a read that is in flight.
`Month` has the assumptions.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from heapq import heappop, heappush
from itertools import chain
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.client_headers import PIP
from benchmarks.counted_bucket import CountedBucket, Headers, Instance
from benchmarks.report import Figure
from benchmarks.stores import Wheel
from tests.fake_time import Clock
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.api_token import NOBODY, TokenOwner

PRICES_USD: Final = {"A": 0.005 / 1000, "B": 0.0004 / 1000}
"""
By class: list prices of an operation on Standard storage in `us-central1`, November 2026.

Deleting is free.
"""
TARGET_USD: Final = 0.20
MONDAY: Final = datetime(2026, 6, 1, tzinfo=UTC)
STARTS: Final = ("free", "start")
KINDS: Final = {
    ("B", "files"): "downloads, which clients make by signed URLs",
    ("B", "projects"): "documents of projects",
    ("B", "projects.json"): "the list of names",
    ("B", "core metadata"): "core metadata",
    ("B", "credentials/tokens"): "records of tokens",
    ("B", "credentials/access.json"): "grants of the store",
    ("B", "credentials/uses"): "last uses of tokens",
    ("B", "journal"): "journals, at uploads",
    ("B", "wheelyard.json"): "the format, at starts",
    ("A", "files"): "distributions",
    ("A", "core metadata"): "core metadata",
    ("A", "projects"): "documents of projects",
    ("A", "pending"): "marks of commits",
    ("A", "journal"): "journals",
    ("A", "projects.json"): "the list of names",
    ("A", "credentials/uses"): "last uses of tokens",
    ("A", "credentials/tokens"): "lists of tokens, at starts",
    ("A", "wheelyard.json"): "the format, at starts",
    STARTS: "starts of an instance",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """The assumptions about a month of use."""

    working_days: int = 22
    simulated_days: int = 5
    """As many days are simulated, and their operations multiplied."""
    people: int = 50
    """Each has a token of their own, cut down to what its owner may do."""
    ci_tokens: int = 10
    downloads: int = 100_000
    uploads: int = 2_000
    """Of one wheel each, by CI, in working hours."""
    projects: int = 200
    new_projects: int = 10
    """Uploads of the month that are a project's first."""
    hot_projects: int = 20
    files_of_an_install: int = 20
    """What an installation takes from the index: every file is downloaded, as without a cache."""
    hot_files_of_an_install: int = 12
    """Of these, files of hot projects; half of the uploads are theirs, too."""
    public_names_of_an_install: int = 40
    """Names that the index does not have, and for which the installer asks it first."""
    working_hours: tuple[float, float] = (9.0, 18.0)
    """All are in one time zone; installations and uploads are spread evenly."""
    nightly_share: float = 0.05
    """The share of installations that begin in the ten minutes after 2 o'clock at night."""
    uv_share: float = 0.5
    """The share of installations by uv, 10 ms from request to request; others are pip's, 40 ms."""
    instances: int = 2
    """Each request goes to any of them, as if the load balancer knew nothing."""
    idle_minutes: float = 15.0
    """An instance without a request for so long is stopped."""

    def simulated(self, count: float) -> int:
        """Return how many of a month's events are simulated."""
        return round(count * self.simulated_days / self.working_days)


@dataclass(frozen=True, slots=True)
class _Step:
    """One request of a client, and the seconds until its next one."""

    after: float
    target: str
    body: bytes = b""


@dataclass(slots=True)
class _Traffic:
    """The requests of the month, and which wheel of each project is the newest."""

    month: Month
    random: Random
    newest: dict[str, Wheel]

    def sessions(self) -> Iterator[tuple[float, str, Iterator[_Step]]]:
        """Yield the start, in seconds since 1970, the kind of token and the steps of each use."""
        month, random = self.month, self.random
        for _ in range(month.simulated(month.downloads / month.files_of_an_install)):
            is_nightly = random.random() < month.nightly_share
            begun = self._time((2.0, 2.0 + 1 / 6) if is_nightly else month.working_hours)
            yield begun, "ci" if is_nightly else "person", self._install()
        for number in range(month.simulated(month.uploads)):
            is_new = number < month.simulated(month.new_projects)
            begun = self._time(month.working_hours)
            yield begun, "ci", self._upload(f"new-{number}" if is_new else "", number)

    def _time(self, hours: tuple[float, float]) -> float:
        day = MONDAY + timedelta(days=self.random.randrange(self.month.simulated_days))
        return day.timestamp() + 3600 * self.random.uniform(*hours)

    def _install(self) -> Iterator[_Step]:
        """Yield the requests of an installation: pages, core metadata, then the files."""
        month, random = self.month, self.random
        hot, others = self._split()
        names = random.sample(hot, month.hot_files_of_an_install)
        names += random.sample(others, month.files_of_an_install - len(names))
        public = [f"public-{number}" for number in range(month.public_names_of_an_install)]
        asked = random.sample([*names, *public], len(names) + len(public))
        is_uv = random.random() < month.uv_share
        pause = 0.01 if is_uv else 0.04
        files = {name: path_of(self.newest[name]) for name in names}
        pages = [_Step(pause, f"/simple/{name}/") for name in asked]
        metadata = {name: _Step(pause, f"{path}.metadata") for name, path in files.items()}
        if is_uv:  # it asks for many pages at a time
            yield from chain(pages, metadata.values())
        else:
            for name, page in zip(asked, pages, strict=True):
                yield page
                if name in metadata:
                    yield metadata[name]
        for path in files.values():
            yield _Step(pause, path)

    def _upload(self, new: str, number: int) -> Iterator[_Step]:
        hot, others = self._split()
        name = new or self.random.choice(hot if number % 2 else others)
        wheel = Wheel(name, f"2.{number}")
        yield _Step(0.0, "/legacy/", wheel.form())
        self.newest[name] = wheel

    def _split(self) -> tuple[list[str], list[str]]:
        names = list(self.newest)
        return names[: self.month.hot_projects], names[self.month.hot_projects :]


def measure(folder: Path) -> list[Figure]:
    """Count the operations of a month: 50 people, 100,000 downloads, 2,000 uploads; their price."""
    return figures(simulate(folder, Month()))


def simulate(folder: Path, month: Month) -> Counter[tuple[str, str]]:
    """Return the operations of a month by class and kind, and the starts of instances."""
    random, clock = Random(1), Clock(MONDAY)
    bucket = CountedBucket(clock)
    idle = month.idle_minutes * 60
    instances = [Instance(bucket, clock, folder, seed, idle) for seed in range(month.instances)]
    with asyncio.Runner() as loop:
        tokens = _fill(instances[0], month)
        traffic = _Traffic(month, random, {})
        for number in range(month.projects):
            wheel = Wheel(f"project-{number}", "1.0")
            _send(instances[0], loop, _Step(0, "/legacy/", wheel.form()), tokens["ci"][0])
            traffic.newest[wheel.project] = wheel
        for each in instances:
            each.stop()
            each.starts = 0
        bucket.operations.clear()
        for time, headers, step in _in_order(traffic, tokens):
            clock.now = datetime.fromtimestamp(time, UTC)
            location = _send(random.choice(instances), loop, step, headers)
            if location:
                bucket.count("B", location.removeprefix("https://bucket.example/"))
        for each in instances:
            each.stop()
            bucket.operations[STARTS] += each.starts
    scale = month.working_days / month.simulated_days
    return Counter({kind: round(count * scale) for kind, count in bucket.operations.items()})


def figures(counts: Counter[tuple[str, str]]) -> list[Figure]:
    """Return the figures of counted operations: each kind, each class, and the cost."""
    unnamed = set(counts) - set(KINDS)
    if unnamed:
        raise RuntimeError(f"operations of an unknown kind: {sorted(unnamed)}")
    rows = [
        Figure(
            name=f"class {price}: {words}" if price in PRICES_USD else words,
            unit="",
            ours=[counts[price, kind]],
        )
        for (price, kind), words in KINDS.items()
    ]
    cost = 0.0
    for price, usd in PRICES_USD.items():
        total = sum(count for (each, _), count in counts.items() if each == price)
        rows.append(Figure(name=f"class {price}, all", unit="", ours=[total]))
        rows.append(Figure(name=f"class {price}, all", unit="USD", ours=[total * usd]))
        cost += total * usd
    target = f"under {TARGET_USD:.2f}"
    return [*rows, Figure(name="a month", unit="USD", ours=[cost], target=target)]


def _in_order(
    traffic: _Traffic, tokens: dict[str, list[Headers]]
) -> Iterator[tuple[float, Headers, _Step]]:
    """Yield the requests of all uses in the order of their times, with the header of their user."""
    waiting = list[tuple[float, int, Headers, Iterator[_Step]]]()
    for number, (begun, kind, steps) in enumerate(traffic.sessions()):
        heappush(waiting, (begun, number, traffic.random.choice(tokens[kind]), steps))
    while waiting:
        time, number, headers, steps = heappop(waiting)
        step = next(steps, None)
        if step is not None:
            yield time, headers, step
            heappush(waiting, (time + step.after, number, headers, steps))


def _fill(instance: Instance, month: Month) -> dict[str, list[Headers]]:
    """Make the tokens; return the headers of requests with them, by kind."""
    tokens, made = instance.index().tokens, dict[str, list[Headers]]()
    for kind, count in (("person", month.people), ("ci", month.ci_tokens)):
        for number in range(count):
            owner = f"user:{number}@acme.example" if kind == "person" else ""
            of = TokenOwner(owner, frozenset({owner})) if owner else NOBODY
            request = TokenRequest(name=f"{kind}-{number}", owner=of)
            token, _ = tokens.create(request, owner or "local:benchmark")
            login = ("Authorization", f"Bearer {token.text}")
            made.setdefault(kind, []).append((*PIP.items(), login))
    return made


def _send(instance: Instance, loop: asyncio.Runner, step: _Step, headers: Headers) -> str:
    """Send a request; return where it is redirected to, or an empty text."""
    answer = instance.request(loop, step.target, headers, step.body)
    if answer.status not in ({404} if "/public-" in step.target else {200, 302}):
        raise RuntimeError(
            f"{step.target} was answered with {answer.status}: {answer.body[:300]!r}"
        )
    return answer.headers.get("location", "")


def path_of(wheel: Wheel) -> str:
    """Return the path of the file of a wheel."""
    return f"/files/{wheel.project}/{sha256(wheel.body).hexdigest()}/{wheel.filename}"
