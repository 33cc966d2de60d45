"""What becomes of descriptions when their process, which a test plays, answers or ends."""

import mimetypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from io import BytesIO, TextIOWrapper
from pathlib import Path
from threading import Thread, Timer

import pytest
from msgspec.json import decode, encode
from msgspec.structs import replace
from packaging.utils import canonicalize_name

from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.servers import memory_index
from tests.operations.in_memory_index import ALICE
from tests.waiting import until
from wheelyard.catalog import keys
from wheelyard.exporting.application import ANYONE, ExportedNames
from wheelyard.http.context import StaticSite
from wheelyard.http.context_building import build_context
from wheelyard.model.metadata import parse_any
from wheelyard.operations.check_store import always_writable
from wheelyard.operations.descriptions import child, child_process
from wheelyard.operations.descriptions.child_process import RenderProcess
from wheelyard.operations.descriptions.descriptions import NOT_YET, RETRY_SECONDS, Descriptions
from wheelyard.storage.memory import MemoryStore

OUTWARD = 'rel="nofollow noopener noreferrer"'
Hook = Callable[[str, tuple[object, ...]], None]
"""What is called with the name and the arguments of each audit event of Python."""
CORE = replace(
    parse_any(None, canonicalize_name("acme"), "1"),
    description="a *b*",
    description_content_type="text/markdown",
)
SITE = StaticSite(caller=ANYONE, names=ExportedNames(), indexes=(), files_url="")


def test_a_description_is_rendered_once_for_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process has rendered and stored no other one renders."""
    store, texts = MemoryStore(Clock().seconds), list[str]()

    def render(_: RenderProcess, text: str, __: str) -> dict[str, str]:
        texts.append(text)
        return {"html": "<p>a <em>b</em></p>"}

    monkeypatch.setattr(RenderProcess, "render", render)
    for _ in range(2):
        with closing(Descriptions(store, Clock().seconds, waits=True)) as descriptions:
            assert descriptions.render(CORE).html == "<p>a <em>b</em></p>"
            until(lambda: [*store.list(keys.DESCRIPTIONS)] != [])  # another thread writes it
    assert texts == ["a *b*"]


@pytest.mark.parametrize(
    ("content_type", "markup"),
    [
        ("text/markdown", "GFM"),
        ("text/markdown; charset=UTF-8; variant=GFM", "GFM"),
        ("Text/Markdown; Variant=CommonMark", "CommonMark"),
        ("text/x-rst; charset=UTF-8", "rst"),
        (None, "rst"),
    ],
)
def test_a_description_is_rendered_as_its_type_says(
    monkeypatch: pytest.MonkeyPatch, content_type: str | None, markup: str
) -> None:
    """Markdown is that of GitHub unless the author names CommonMark; no type means rst."""

    def render(_: RenderProcess, text: str, asked: str) -> dict[str, str]:
        return {"html": f"<p>{text} as {asked}</p>"}

    monkeypatch.setattr(RenderProcess, "render", render)
    core = replace(CORE, description_content_type=content_type)
    store = MemoryStore(Clock().seconds)
    with closing(Descriptions(store, Clock().seconds, waits=True)) as descriptions:
        assert descriptions.render(core).html == f"<p>a *b* as {markup}</p>"


@pytest.mark.parametrize(
    ("site", "waits"), [(SITE, True), (None, False)], ids=["static site", "server"]
)
def test_a_site_waits_for_its_descriptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: StaticSite | None, *, waits: bool
) -> None:
    """What makes a static site waits for each description, and no thread of a server does."""
    monkeypatch.setattr(RenderProcess, "render", lambda *_: {"html": "<p>a <em>b</em></p>"})
    process = build_context(memory_index(tmp_path), always_writable, site).process
    with closing(process.descriptions):
        rendered = process.descriptions.render(CORE)

    assert ("<em>b</em>" in rendered.html, rendered.is_final) == (waits, waits)


def test_the_description_of_a_new_file_is_rendered_before_a_page_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server renders the description of a file that is uploaded, though nobody sees its page."""
    monkeypatch.setattr(RenderProcess, "render", lambda *_: {"html": "<p>a <em>b</em></p>"})
    index = memory_index(tmp_path)
    context = build_context(index, always_writable)
    made = make_wheel(metadata=b"Metadata-Version: 2.2\nName: demo\nVersion: 1.0\n\na *b*\n")

    with closing(context.process.descriptions):
        context.index.uploads.accept(made.arrival(tmp_path), ALICE)
        until(lambda: [*index.stores.documents.list(keys.DESCRIPTIONS)] != [])


def test_a_fault_of_ours_leaves_the_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If a renderer fails by a fault of ours, pages have the text for now, and the log says why."""
    monkeypatch.setattr(RenderProcess, "render", lambda *_: 1 / 0)

    with closing(Descriptions(MemoryStore(Clock().seconds), Clock().seconds, waits=True)) as made:
        rendered = made.render(CORE)

    assert ("a *b*" in rendered.html, rendered.is_final) == (True, False)
    (record,) = caplog.records
    assert record.message == "a description cannot be rendered"
    assert record.exc_info


def test_without_a_thread_no_process_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the machine has no thread to end the process later, it ends after the last description."""
    ended = list[RenderProcess]()

    def refuse(_: Timer) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(RenderProcess, "render", lambda *_: {"html": "<p>a</p>"})
    monkeypatch.setattr(RenderProcess, "close", lambda process: ended.append(process))  # noqa: PLW0108 - a method
    with closing(Descriptions(MemoryStore(Clock().seconds), Clock().seconds)) as made:
        with monkeypatch.context() as context:
            context.setattr(Timer, "start", refuse)
            until(lambda: made.render(CORE).html == "<p>a</p>")
            until(lambda: ended != [])
        assert len(ended) == 1


def test_without_a_thread_an_export_has_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the machine has no thread left, a site that is exported has a description as text."""

    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", refuse)
    descriptions = Descriptions(MemoryStore(Clock().seconds), Clock().seconds, waits=True)
    with closing(descriptions):
        rendered = descriptions.render(CORE)

    assert "a *b*</pre>" in rendered.html
    assert not rendered.is_final


class EndingProcess:
    """A process that starts, and is ended by a signal while it renders the first description."""

    def __init__(self, ended_by: int) -> None:
        self.returncode = -ended_by
        self.stdin = BytesIO()
        self.stdout = BytesIO(b"{}\n")

    def kill(self) -> None:
        """Do nothing, as it has ended."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("ended_by", "reason", "starts"),
    [
        (signal.SIGPROF, "rendering it took more than a second", 1),
        (signal.SIGABRT, "it is too complex to render", 1),
        (signal.SIGSEGV, "it is too complex to render", 1),
        (signal.SIGKILL, "it is not rendered yet", 2),
        (0, "it is not rendered yet", 2),
    ],
    ids=repr,
)
def test_a_description_that_ends_its_process_is_text(
    monkeypatch: pytest.MonkeyPatch, ended_by: int, reason: str, starts: int
) -> None:
    """A description that ends its process stays text; one that is not at fault is tried again."""
    started = list[EndingProcess]()

    def start() -> EndingProcess:
        started.append(EndingProcess(ended_by))
        return started[-1]

    monkeypatch.setattr(child_process, "_start", start)
    descriptions = Descriptions(MemoryStore(Clock().seconds), Clock().seconds, waits=True)
    with closing(descriptions):
        rendered = descriptions.render(CORE)

    assert reason in rendered.html
    assert rendered.is_final is (starts == 1)
    assert len(started) == starts


def test_a_description_that_cannot_be_rendered_now_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What no fault of a description has kept from being rendered is tried a minute later."""
    clock, texts = Clock(), list[str]()

    def render(_: RenderProcess, text: str, __: str) -> None:
        texts.append(text)

    monkeypatch.setattr(RenderProcess, "render", render)
    tried = list[int]()
    with closing(Descriptions(MemoryStore(clock.seconds), clock.seconds, waits=True)) as made:
        for seconds in (0, RETRY_SECONDS - 1, 2):
            clock.advance(seconds=seconds)
            rendered = made.render(CORE)
            assert (NOT_YET in rendered.html, rendered.is_final) == (True, False)
            tried.append(len(texts))

    assert tried == [1, 1, 2]


def run_child(monkeypatch: pytest.MonkeyPatch, *requests: dict[str, object]) -> tuple[Hook, bytes]:
    """
    Answer requests as the process does, without its limits.

    Return the audit hook that the process has once it has limited itself, and what it has written.
    """
    hooks, written = list[Hook](), BytesIO()

    def open_nothing(path: str, *_: object, **__: object) -> None:
        raise PermissionError(path)

    def read_types(files: Sequence[str] | None = None) -> None:
        for hook in hooks:
            hook("open", ("/etc/mime.types", "r", 0))
        init(files)

    init = mimetypes.init
    # what would limit this process, too
    monkeypatch.setattr(sys, "addaudithook", hooks.append)
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(mimetypes, "_db", None)
    monkeypatch.setattr(mimetypes, "init", read_types)
    monkeypatch.setattr(signal, "setitimer", lambda *_: None)
    monkeypatch.setattr(child, "open", open_nothing, raising=False)
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"\n".join(map(encode, requests)))))
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written))
    child.main()
    (hook,) = hooks
    return hook, written.getvalue()


@pytest.fixture
def audit_hook(monkeypatch: pytest.MonkeyPatch) -> Hook:
    """Return the audit hook that the process has once it has limited itself."""
    return run_child(monkeypatch)[0]


@pytest.mark.parametrize(
    ("event", "argument"),
    [
        ("open", "/etc/passwd"),
        ("open", os.fsencode(os.__file__)),
        ("open", 3),
        ("socket.connect", None),
        ("subprocess.Popen", "/bin/sh"),
        ("os.fork", None),
    ],
)
def test_the_process_has_no_access_but_to_code(
    audit_hook: Hook, event: str, argument: object
) -> None:
    """The process that renders refuses itself all files but those of packages, and all programs."""
    audit_hook("open", (os.__file__, "r", 0))

    with pytest.raises(PermissionError):
        audit_hook(event, (argument,))


@pytest.mark.parametrize(
    ("markup", "text", "answer"),
    [
        ("GFM", "a *b*", {"html": "<p>a <em>b</em></p>\n"}),
        ("rst", "a *b*", {"html": "<p>a <em>b</em></p>\n"}),
        (
            "rst",
            ".. image:: https://a.example/b\n   :alt: B",
            {"html": f'<a href="https://a.example/b" {OUTWARD}>B</a>\n'},
        ),
        ("rst", "`a", {"problem": "markup"}),
        ("GFM", f"Text ![](https://a.example/{'b' * 200})", {"problem": "complex"}),
        ("GFM", "<h2 id=a>A</h2>\n" * 7, {"problem": "complex"}),
    ],
    ids=[
        "Markdown",
        "reStructuredText",
        "an image",
        "no reStructuredText",
        "longer than shown",
        "longer with its headings listed",
    ],
)
def test_the_process_answers_each_description(
    monkeypatch: pytest.MonkeyPatch, markup: str, text: str, answer: dict[str, str]
) -> None:
    """A description is rendered in its markup, unless it is invalid, or too long as HTML."""
    monkeypatch.setattr(child, "MAX_OUTPUT", 200)

    _, written = run_child(monkeypatch, {"markup": markup, "text": text, "own": False})

    assert [decode(line) for line in written.splitlines()] == [{"ready": ""}, answer]
