"""What the documentation shows before another process has rendered a page, or without one."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from markupsafe import Markup

from tests.http.in_process import InProcessResponse, in_process
from wheelyard.operations.documentation import Documentation


class AwaitedJob(Future[Markup | None]):
    """A job that ends as soon as somebody waits for it without a thread."""

    def add_done_callback(self, fn: Callable[[Future[Markup | None]], object]) -> None:
        """Note who waits, and end."""
        super().add_done_callback(fn)
        if not self.done():
            self.set_result(Markup("<h1>Rendered</h1>"))

    def result(self, timeout: float | None = None) -> Markup | None:
        """Return the page, for which no thread may wait."""
        assert self.done()
        return super().result(timeout)


def test_no_thread_waits_for_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits until a page is rendered takes no thread from other readers."""
    job = AwaitedJob()
    monkeypatch.setattr(Documentation, "render", lambda *_: job)
    with in_process(tmp_path) as app:
        page = app.get("/-/docs/tokens/", ("accept", "text/html"))

    assert page.status == 200
    assert b"<h1>Rendered</h1>" in page.body


def test_a_page_that_cannot_be_rendered_shows_its_source_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page shows its source while it cannot be rendered, which no cache keeps."""
    done = AwaitedJob()
    done.set_result(Markup("<h1>Rendered</h1>"))
    with in_process(tmp_path) as app:
        pages = list[InProcessResponse]()
        for job in (None, done, done):
            monkeypatch.setattr(Documentation, "render", lambda *_, job=job: job)
            pages.append(app.get("/-/docs/tokens/", ("accept", "text/html")))

    assert [page.status for page in pages] == [200] * 3
    assert [b"# API tokens" in page.body for page in pages] == [True, False, False]
    assert [b"<h1>Rendered</h1>" in page.body for page in pages] == [False, True, True]
    assert [page.headers["cache-control"] for page in pages] == [
        "no-store",
        "public, no-cache",
        "public, no-cache",
    ]
    assert [page.was_quick for page in pages] == [False, False, True]


def test_pictures_and_results_need_no_rendering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of the documentation, and its front page with a search, need no rendering."""
    monkeypatch.setattr(Documentation, "render", lambda *_: None)
    with in_process(tmp_path) as app:
        picture = app.get("/-/docs/images/overview.svg")
        results = app.get("/-/docs/?q=webhook", ("accept", "text/html"))

    assert (picture.status, picture.headers["content-type"]) == (200, "image/svg+xml")
    assert (results.status, b'value="webhook"' in results.body) == (200, True)
