"""
An upstream index that misbehaves on demand, on loopback ports of this process, or without sockets.

It has three listeners: the host of the index, the host of its files, and a stranger, which no
setting names and which must never be asked anything. Each request is recorded with its headers as
they were sent, so that a test can assert that nothing was asked: `upstream.asked("acme-core") ==
[]`.

    with running_fake_upstream() as upstream:
        upstream.publish(public_wheel("requests", "2.0"))
        upstream.behave("requests", Fault.NO_ETAG)             # the page
        upstream.behave_files("requests", Fault.WRONG_BYTES)   # its files
        upstream.behave("requests", 503, Retry_After="7")
        upstream.behave("requests")                            # all is well again
        gate = upstream.hold("requests")                       # answers after gate.set()
        upstream.stop()                                        # connections are refused
        upstream.start()                                       # on the same ports
"""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Lock

from tests.distributions import Distribution
from tests.fake_gcs.listener import Answer, Listener
from tests.fake_gcs.wire import Delivery, DisconnectedError, RateLimit, Reply, Request
from tests.upstream.fake_pages import (
    JSON,
    MIB,
    FakeFile,
    FakeProject,
    Fault,
    Places,
    basic,
    changed,
    make_page,
    normal,
)
from tests.upstream.in_process_network import InProcessListener
from tests.upstream.public_packages import metadata_in

PAGE = re.compile(r"/(?:simple|moved)/([^/]+)/")
NewListener = Callable[[Answer, Event], Listener | InProcessListener]
"""Makes what answers at a port."""
REDIRECTS = frozenset(fault for fault in Fault if fault.startswith("redirect_"))


@dataclass(frozen=True)
class SeenRequest:
    """A request that the fake upstream has received."""

    host: str
    """Which listener: `index`, `files` or `stranger`."""
    method: str
    path: str
    """With its query."""
    headers: tuple[tuple[str, str], ...]
    """As they were sent, in their order."""

    def header(self, name: str) -> str | None:
        """Return a header by its lower-case name, None if it was not sent."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass
class FakeUpstream:
    """A running upstream, what it has, and what it was asked."""

    projects: dict[str, FakeProject] = field(default_factory=dict)
    requests: list[SeenRequest] = field(default_factory=list)
    root: tuple[int, str, bytes] | None = None
    """Status, content type and body at the root; None for the list of all projects."""
    refuses_all: bool = False
    """Whether every request is answered with 403, as without a licence or with a lost right."""
    credentials: str = ""
    """The Authorization header that each request to the index and for files has to have."""
    closing: Event = field(default_factory=Event)
    listeners: dict[str, Listener | InProcessListener] = field(default_factory=dict)
    new_listener: NewListener = Listener
    _lock: Lock = field(default_factory=Lock)

    @property
    def places(self) -> Places:
        """The roots of the listeners."""
        roots = {each: f"http://127.0.0.1:{it.port}" for each, it in self.listeners.items()}
        return Places(**roots)

    @property
    def url(self) -> str:
        """The URL of the index, for the setting `url`."""
        return f"{self.places.index}/simple/"

    @property
    def file_host(self) -> str:
        """Host and port of the files, for the setting `file_hosts`."""
        return self.places.files.removeprefix("http://")

    def publish(self, *packages: Distribution | FakeFile) -> None:
        """Add files, or replace those of the same name."""
        for package in packages:
            file = package if isinstance(package, FakeFile) else FakeFile.of(package)
            project = self._project(file.name)
            kept = [each for each in project.files if each.filename != file.filename]
            project.files = [*kept, file]
            project.serial += 1

    def publish_folder(self, folder: Path) -> None:
        """Add all wheels of a folder."""
        for path in sorted(folder.glob("*.whl")):
            body = path.read_bytes()
            self.publish(FakeFile(filename=path.name, body=body, metadata=metadata_in(body)))

    def withdraw(self, filename: str) -> None:
        """Remove a file."""
        for project in self.projects.values():
            project.files = [each for each in project.files if each.filename != filename]

    def drop(self, name: str) -> None:
        """Remove a project: its page and its files are answered with 404."""
        del self.projects[normal(name)]

    def behave(self, name: str, *faults: Fault | int, **headers: str) -> None:
        """
        Have these faults, and no others, in the page of a project.

        Args:
            name: The project, which need not exist.
            faults: An integer is a status.
            headers: Further ones of the response; an underscore stands for a dash.
        """
        project = self._project(name)
        project.page_faults, project.page_status = _sorted_out(faults)
        project.headers = {key.replace("_", "-"): value for key, value in headers.items()}
        project.pages_sent = 0

    def behave_files(self, name: str, *faults: Fault | int) -> None:
        """Have these faults, and no others, in the files of a project and their metadata."""
        project = self._project(name)
        project.file_faults, project.file_status = _sorted_out(faults)

    def refuse(self, name: str, reason: bytes, status: int = 403) -> None:
        """Refuse the page of a project, as a firewall before an index does."""
        self.behave(name, status)
        self._project(name).reason = reason

    def refuse_files(self, name: str, reason: bytes, status: int = 403) -> None:
        """Refuse the files of a project, and their metadata."""
        self.behave_files(name, status)
        self._project(name).reason = reason

    def hold(self, name: str) -> Event:
        """Hold back the page of a project, until the event is set that is returned."""
        project = self._project(name)
        project.page_gate = Event()
        return project.page_gate

    def hold_files(self, name: str) -> Event:
        """Send half of each file of a project, and the rest when the event is set."""
        project = self._project(name)
        project.file_gate = Event()
        return project.file_gate

    def hold_metadata(self, name: str) -> Event:
        """Hold back the core metadata of a project, until the event is set that is returned."""
        project = self._project(name)
        project.metadata_gate = Event()
        return project.metadata_gate

    def require(self, username: str, password: str) -> None:
        """Answer 401 to all requests without these credentials."""
        self.credentials = basic(username, password)

    def asked(self, name: str) -> list[SeenRequest]:
        """Return the requests for the page or for files of a project, however it is spelled."""
        return [each for each in list(self.requests) if _is_about(each.path, normal(name))]

    def asked_pages(self, name: str) -> list[SeenRequest]:
        """Return the requests for the page of a project."""
        return [each for each in self.asked(name) if PAGE.match(each.path)]

    def asked_files(self, name: str) -> list[SeenRequest]:
        """Return the requests for files of a project, without those for metadata."""
        found = self.asked(name)
        return [
            each
            for each in found
            if "/packages/" in each.path and not each.path.endswith(".metadata")
        ]

    def asked_stranger(self) -> list[SeenRequest]:
        """Return what the host was asked that no setting names."""
        return [each for each in list(self.requests) if each.host == "stranger"]

    def start(self) -> None:
        """Listen, on the ports of the last time if there was one."""
        self.closing.clear()
        for host in ("index", "files", "stranger"):
            known = self.listeners.get(host)
            listener = known or self.new_listener(self._answer_of(host), self.closing)
            self.listeners[host] = listener
            listener.start()

    def stop(self) -> None:
        """Close the ports and all connections."""
        self.closing.set()
        for listener in self.listeners.values():
            listener.stop()

    def _answer_of(self, host: str) -> "_Answer":
        return _Answer(self, host)

    def _project(self, name: str) -> FakeProject:
        return self.projects.setdefault(normal(name), FakeProject(normal(name)))

    def record(self, host: str, request: Request) -> None:
        """Note a request."""
        seen = SeenRequest(host, request.method, request.target, tuple(request.headers))
        with self._lock:
            self.requests.append(seen)

    def find(self, path: str) -> tuple[FakeProject, FakeFile] | None:
        """Return the file at a path, and its project."""
        for project in list(self.projects.values()):
            for file in project.files:
                if path == file.path():
                    return project, file
                if path == changed(file).path() and Fault.DIGEST_CHANGE in project.page_faults:
                    return project, changed(file)
        return None


@contextmanager
def running_fake_upstream(new_listener: NewListener = Listener) -> Iterator[FakeUpstream]:
    """Run an upstream until the block ends."""
    upstream = FakeUpstream(new_listener=new_listener)
    upstream.start()
    try:
        yield upstream
    finally:
        upstream.stop()


@dataclass(frozen=True)
class _Answer:
    """Answers the requests of one listener."""

    upstream: FakeUpstream
    host: str

    def __call__(self, request: Request) -> Reply:
        self.upstream.record(self.host, request)
        if self.upstream.refuses_all:
            return Reply(403, [], b"no right")
        wanted = self.upstream.credentials
        if wanted and request.header("authorization") != wanted:
            return Reply(401, [("WWW-Authenticate", 'Basic realm="upstream"')])
        found = PAGE.fullmatch(request.path)
        if request.path == "/simple/":
            reply = self._root()
        elif request.path.startswith("/integrity/"):
            reply = self._provenance(request.path)
        else:
            reply = self._page(request, found[1]) if found else self._file(request)
        return replace(reply, bare=request.method == "HEAD")

    def _root(self) -> Reply:
        body = json.dumps(
            {
                "meta": {"api-version": "1.4"},
                "projects": [{"name": name} for name in sorted(self.upstream.projects)],
            }
        )
        status, kind, content = self.upstream.root or (200, JSON, body.encode())
        return Reply(status, [("Content-Type", kind)], content)

    def _page(self, request: Request, name: str) -> Reply:
        project = self.upstream.projects.get(normal(name))
        if project is None:
            return Reply(404, [("Content-Type", "text/plain")], b"Not Found")
        if project.page_gate:
            self._wait(project.page_gate)
        faults = project.page_faults
        if redirect := REDIRECTS.intersection(faults):
            (fault,) = redirect
            if fault != Fault.REDIRECT_SAME or request.path.startswith("/simple/"):
                return self._redirect(fault, f"/moved/{project.name}/", request)
        if project.page_status != 200:
            return Reply(project.page_status, list(project.headers.items()), project.reason)
        if not project.files and not faults:
            return Reply(404, [("Content-Type", "text/plain")], b"Not Found")
        reply = self._rendered(project, request)
        project.pages_sent += 1
        return self._delivered(reply, faults)

    def _rendered(self, project: FakeProject, request: Request) -> Reply:
        accept = request.header("accept") or ""
        page = make_page(project, self.upstream.places, accept, request.path)
        headers = [("Content-Type", page.content_type), ("Cache-Control", "max-age=600, public")]
        headers += [("Vary", "Accept, Accept-Encoding"), *project.headers.items()]
        if page.etag:
            headers.append(("ETag", page.etag))
        headers.append(("X-PyPI-Last-Serial", str(project.serial)))
        if page.etag and request.header("if-none-match") == page.etag:
            return Reply(304, headers)
        encoding, body = page.encoding, page.body
        if not encoding and "gzip" in (request.header("accept-encoding") or ""):
            encoding, body = "gzip", gzip.compress(body, 1, mtime=0)
        if encoding:
            headers.append(("Content-Encoding", encoding))
        return Reply(200, headers, body)

    def _provenance(self, path: str) -> Reply:
        for project in self.upstream.projects.values():
            for file in project.files:
                if path == file.provenance_path and file.provenance:
                    kind = "application/vnd.pypi.integrity.v1+json"
                    return Reply(200, [("Content-Type", kind)], file.provenance)
        return Reply(404, [("Content-Type", "application/json")], b'{"message": "Not Found"}')

    def _file(self, request: Request) -> Reply:
        is_metadata = request.path.endswith(".metadata")
        found = self.upstream.find(request.path.removesuffix(".metadata"))
        if found is None:
            return Reply(404, [("Content-Type", "text/plain")], b"Not Found")
        project, file = found
        faults = project.file_faults
        if (redirect := REDIRECTS.intersection(faults)) and request.query != "moved":
            (fault,) = redirect
            return self._redirect(fault, f"{file.path()}?moved", request)
        if project.file_status != 200:
            return Reply(project.file_status, [], project.reason)
        if is_metadata and not file.metadata:
            return Reply(404, [("Content-Type", "text/plain")], b"Not Found")
        if is_metadata and project.metadata_gate:
            self._wait(project.metadata_gate)
        kind = "text/html" if Fault.WRONG_CONTENT_TYPE in faults else "application/octet-stream"
        body = file.metadata if is_metadata else file.body
        headers = [("Content-Type", kind), ("ETag", f'"{file.sha256[:32]}"')]
        headers.append(("Cache-Control", "max-age=365000000, immutable, public"))
        reply = self._delivered(Reply(200, headers, body), faults)
        if project.file_gate and not is_metadata:
            pace = _Gate(max(1, reply.size // 2 + 1), self.upstream.closing, project.file_gate)
            return replace(reply, delivery=replace(reply.delivery, pace=pace))
        return reply

    def _redirect(self, fault: str, path: str, request: Request) -> Reply:
        places = self.upstream.places
        same = places.index if self.host == "index" else places.files
        where = {
            Fault.REDIRECT_SAME: same + path,
            Fault.REDIRECT_OTHER: places.stranger + path,
            Fault.REDIRECT_NAME: f"{places.index}/simple/acme-core/",
            Fault.REDIRECT_METADATA_IP: "http://169.254.169.254/computeMetadata/v1/",
            Fault.REDIRECT_LOOP: same + request.path,
            Fault.REDIRECT_OTHER_SCHEME: "file:///etc/passwd",
        }
        return Reply(302, [("Location", where[Fault(fault)])])

    def _delivered(self, reply: Reply, faults: frozenset[Fault]) -> Reply:
        if Fault.HANG in faults:
            self._wait(Event())
        body = bytes(reply.piece(0, reply.size))
        half, delivery = reply.size // 2, Delivery()
        if Fault.SHORT in faults:
            body = body[:half]
        if Fault.LONG in faults:
            body += b"\0" * MIB
        if faults & {Fault.TRUNCATE, Fault.RESET}:
            delivery = Delivery(stop_at=half, reset=Fault.RESET in faults)
        if Fault.WRONG_BYTES in faults:
            delivery = replace(delivery, flip_at=half)
        delivery = replace(delivery, chunked=Fault.CHUNKED in faults)
        return replace(reply, content=body, delivery=delivery)

    def _wait(self, gate: Event) -> None:
        """Wait until the gate is open; DisconnectedError once the upstream stops."""
        while not gate.wait(0.02):
            if self.upstream.closing.is_set():
                raise DisconnectedError


class _Gate(RateLimit):
    """Lets the first piece pass, and the others when a gate is open."""

    def __init__(self, first: int, closing: Event, gate: Event) -> None:
        super().__init__(first * 10, closing.wait)
        self._left = first
        self._closing, self._gate = closing, gate

    def wait(self, size: int) -> None:
        """Wait for the gate, unless this is the first piece."""
        if self._left > 0:
            self._left -= size
            return
        while not self._gate.wait(0.02):
            if self._closing.is_set():
                raise DisconnectedError


def _sorted_out(faults: tuple[Fault | int, ...]) -> tuple[frozenset[Fault], int]:
    statuses = [each for each in faults if isinstance(each, int)]
    named = frozenset(each for each in faults if isinstance(each, Fault))
    return named, statuses[0] if statuses else 200


def _is_about(path: str, name: str) -> bool:
    """Return whether a path is the page of a project, or a file of it."""
    parts = [part for part in path.partition("?")[0].split("/") if part]
    if not parts:
        return False
    last = parts[-1].removesuffix(".metadata")
    return normal(last) == name or normal(last.split("-")[0]) == name
