"""A source of files whose answers a test has written, and which it can hold."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Event, Lock
from typing import Any

from packaging.utils import NormalizedName

from tests.metrics import samples
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import WheelyardError
from wheelyard.storage.base import Store
from wheelyard.storage.local import LocalStore
from wheelyard.storage.spool import Spool
from wheelyard.upstream.observation import Kind, Observation
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.upstream_files import FileRules, UpstreamFiles
from wheelyard.wiring.stores import system_runtime

NAME = NormalizedName("demo")
UPSTREAM = "public-0123abcd"
URL = "https://files.example.com/demo-1.0-py3-none-any.whl"
FILENAME = "demo-1.0-py3-none-any.whl"
CHUNK = 64 * 1024
BODY = bytes(range(256)) * 4096
"""A megabyte, which comes in 16 chunks."""


@dataclass
class Answer:
    """What the source sends for a URL."""

    chunks: Sequence[bytes]
    announced: int | None = None
    fault: WheelyardError | None = None
    """Raised after the chunks."""
    gate: Event | None = None
    """The second half of the chunks comes after it is set."""
    begins: Event | None = None
    """The answer begins after it is set."""

    @property
    def size(self) -> int | None:
        """What Content-Length says."""
        return self.announced


@dataclass
class OpenAnswer:
    """An answer that is being read."""

    answer: Answer
    is_closed: bool = False

    @property
    def size(self) -> int | None:
        """What Content-Length says."""
        return self.answer.announced

    def chunks(self) -> Iterator[bytes]:
        """Yield the chunks, the second half of them after the gate."""
        answer = self.answer
        half = len(answer.chunks) // 2
        yield from answer.chunks[:half]
        if answer.gate is not None:
            assert answer.gate.wait(TIMEOUT_SECONDS)
        yield from answer.chunks[half:]
        if answer.fault is not None:
            raise answer.fault

    def close(self) -> None:
        """End it."""
        self.is_closed = True


@dataclass
class ScriptedSource:
    """Answers by URL, and all requests so far."""

    answers: dict[str, Answer | WheelyardError] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    opened: list[OpenAnswer] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def open_file(self, upstream: str, name: NormalizedName, url: str, kind: Kind) -> OpenAnswer:
        """See `FileSource`."""
        del upstream, name, kind
        with self._lock:
            self.requests.append(url)
        found = self.answers[url]
        if isinstance(found, WheelyardError):
            raise found
        if found.begins is not None:
            assert found.begins.wait(TIMEOUT_SECONDS)
        self.opened.append(OpenAnswer(found))
        return self.opened[-1]

    def send(self, body: bytes, url: str = URL, **fields: Any) -> Answer:  # noqa: ANN401
        """Answer with these bytes, in chunks as a socket gives them."""
        chunks = [body[at : at + CHUNK] for at in range(0, len(body), CHUNK)]
        answer = self.answers[url] = Answer(chunks, **{"announced": len(body), **fields})
        return answer


@dataclass
class FilesHarness:
    """The files of an upstream, over a folder, with a source that a test has written."""

    folder: Path
    source: ScriptedSource = field(default_factory=ScriptedSource)
    rules: FileRules = field(default_factory=FileRules)
    store: Store = field(init=False)
    spool: Spool = field(init=False)
    observation: Observation = field(init=False)

    def __post_init__(self) -> None:
        self.runtime = system_runtime()
        local = LocalStore(self.folder / "store", self.runtime.random)
        self.store, self.spool = local, local.spool
        self.observation = Observation(self.runtime)

    def files(self, **other: Any) -> UpstreamFiles:  # noqa: ANN401
        """Return the files as one process has them."""
        parts: dict[str, Any] = {
            "store": self.store,
            "spool": self.spool,
            "source": self.source,
            "retries": ConflictRetries(runtime=self.runtime),
            "observation": self.observation,
            "rules": self.rules,
        }
        return UpstreamFiles(**parts | other)

    def spooled(self) -> list[str]:
        """Return the names of the temporary files."""
        return [each.name for each in self.spool.folder.iterdir()]

    def open_spool_files(self) -> int:
        """Return how many files in the folder of temporary files this process has open."""
        return open_below(self.spool.folder)

    def stored(self) -> list[str]:
        """Return all keys of the store."""
        return [entry.key for entry in self.store.list("")]

    def counted(self, metric: str) -> int:
        """Return a counter."""
        name = f"wheelyard_upstream_{metric}_total"
        return int(sum(samples(self.observation.registry, name).values()))


def open_below(folder: Path) -> int:
    """Return how many files below a folder this process has open, also deleted ones."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            count += str(descriptor.readlink()).startswith(f"{folder.resolve()}/")
    return count


def listed(body: bytes = BODY, **fields: Any) -> UpstreamFile:  # noqa: ANN401
    """Return a file as its page lists it."""
    known: dict[str, Any] = {
        "filename": FILENAME,
        "version": "1.0",
        "url": URL,
        "sha256": sha256(body).hexdigest(),
        "size": len(body),
    }
    return UpstreamFile(**known | fields)


def page_of(*files: UpstreamFile, upstream: str = UPSTREAM) -> UpstreamPage:
    """Return a page that lists these files."""
    fetched_at = datetime(2026, 1, 1, tzinfo=UTC)
    return UpstreamPage(name=NAME, upstream=upstream, fetched_at=fetched_at, files=files)
