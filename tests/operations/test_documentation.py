"""What is read of a folder with the documentation, and how its pages end with the server."""

import signal
from io import BytesIO
from pathlib import Path
from threading import Event

import pytest

from tests.waiting import TIMEOUT_SECONDS
from wheelyard.operations.descriptions import child_process
from wheelyard.operations.descriptions.child_process import RenderProcess
from wheelyard.operations.documentation import FRONT, Documentation, find_folder, read_folder


@pytest.mark.parametrize(
    ("name", "head", "size"),
    [
        ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 300">', (880, 300)),
        ("a.webp", b"RIFF....WEBPVP8X........\x6f\x03\x00\x2b\x01\x00", (880, 300)),
        ("a.webp", b"RIFF....WEBPVP8 ..........\x70\x43\x2c\x81", (880, 300)),
        ("a.toml", b"width = 880", None),
    ],
)
def test_pictures_have_a_width_and_a_height(
    tmp_path: Path, name: str, head: bytes, size: tuple[int, int] | None
) -> None:
    """A picture of the documentation has the width and the height that its file says."""
    (tmp_path / name).write_bytes(head)

    assert read_folder(tmp_path).sizes.get(name) == size


@pytest.mark.parametrize(
    ("text", "title"),
    [("Text.\n\n# Set `acme` up\n", "Set acme up"), ("## Acme\n", "v1.0/linux.md")],
    ids=["a heading", "no heading"],
)
def test_pages_have_a_title(tmp_path: Path, text: str, title: str) -> None:
    """A page is called by its first heading, else by its file, also in a folder with a dot."""
    (tmp_path / "v1.0").mkdir()
    (tmp_path / "v1.0" / "linux.md").write_text(text)

    read = read_folder(tmp_path)

    assert {path: page.title for path, page in read.pages.items()} == {"v1.0/linux/": title}
    assert read.files == {}


@pytest.mark.parametrize(
    ("problem", "shown"),
    [("unavailable", None), ("slow", "<h1>Acme</h1>")],
    ids=["no process can be started", "a page takes too long"],
)
def test_a_page_that_fails_ends_the_others_only_without_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str, shown: str | None
) -> None:
    """All pages fail at once if no process starts, and a page that is too slow fails alone."""
    is_waited_for = Event()
    answers = [{"problem": problem}, {"html": "<h1>Acme</h1>"}]

    def render(*_: object) -> dict[str, str]:
        is_waited_for.wait(TIMEOUT_SECONDS)
        return answers.pop(0)

    monkeypatch.setattr(RenderProcess, "render", render)
    for name in ("README", "tokens"):
        (tmp_path / f"{name}.md").write_text("# Acme")
    documentation = Documentation(tmp_path)
    documentation.render(FRONT)
    other_page = documentation.render("tokens/")
    is_waited_for.set()
    assert other_page is not None
    result = other_page.result(TIMEOUT_SECONDS)
    documentation.close()

    assert result == shown


class HangingProcess:
    """A process that answers nothing before it is killed."""

    def __init__(self, begun: Event, killed: Event) -> None:
        self.returncode = -signal.SIGKILL
        self.stdin = BytesIO()
        self.stdout = self
        self.has_ended = False
        self._begun = begun
        self._killed = killed

    def readline(self) -> bytes:
        """Wait until a process is killed, and return the end of the answers."""
        self._begun.set()
        assert self._killed.wait(TIMEOUT_SECONDS)
        return b""

    def kill(self) -> None:
        """End the wait for an answer."""
        self._killed.set()

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *_: object) -> None:
        """Note the end."""
        self.has_ended = True


def test_the_end_of_the_server_waits_for_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ends while a page is rendered kills the process, and starts no other one."""
    begun, killed = Event(), Event()
    started = list[HangingProcess]()

    def start() -> HangingProcess:
        started.append(HangingProcess(begun, killed))
        return started[-1]

    monkeypatch.setattr(child_process, "_start", start)
    # the limit of a page would kill the process as well
    monkeypatch.setattr(child_process, "START_SECONDS", 2 * TIMEOUT_SECONDS)
    (tmp_path / "README.md").write_text("# Acme")
    documentation = Documentation(tmp_path)
    job = documentation.render(FRONT)
    assert begun.wait(TIMEOUT_SECONDS)

    documentation.close()

    assert killed.is_set()
    assert job is not None
    assert job.done()
    assert job.result() is None
    assert [process.has_ended for process in started] == [True]


@pytest.mark.parametrize("problem", ["markup", "complex", "unavailable"])
def test_a_page_that_cannot_be_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    """A page that cannot be rendered has no HTML, so that its readers get its source."""
    monkeypatch.setattr(RenderProcess, "render", lambda *_: {"problem": problem})
    (tmp_path / "README.md").write_text("# Acme")
    documentation = Documentation(tmp_path)

    job = documentation.render(FRONT)

    assert job is not None
    assert job.result(TIMEOUT_SECONDS) is None
    documentation.close()


def test_the_documentation_is_found() -> None:
    """A server that runs from a clone, where no wheel was built, has the pages of the clone."""
    assert FRONT in read_folder(find_folder()).pages
