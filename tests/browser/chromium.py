"""
Chromium without a window, driven by Playwright, and people who look at pages with it.

Playwright has an environment of its own, as each tested client has. Where it cannot be installed,
or where Chromium is missing, the tests are skipped.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

from tests.clients.harness import program, require_system_library, site_packages, system_program

OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
"""Of Chromium: a container's root has no sandbox, no graphics card and little shared memory."""
NO_BACK_CACHE = "--disable-back-forward-cache"
"""What Playwright adds, and nobody else has: people's browsers keep pages for the back button."""
WINDOW = {"width": 1280, "height": 720}
"""The size of a new window."""
CLIPBOARD = ("clipboard-read", "clipboard-write")


@dataclass
class Person:
    """
    A person with a browser profile of their own: cookies, window, colour scheme.

    Args:
        page: Playwright's `Page`.
        base: The URL of the home page.
        complaints: What went wrong: requests to other hosts, and what the browser wrote into its
            console: errors of scripts, violations of the Content-Security-Policy.
        has_scripts: Whether the browser runs scripts.
        others: The beginnings of URLs of other hosts that the pages may lead to, and of whose pages
            nobody complains.
    """

    page: Any
    base: str
    has_scripts: bool = True
    others: tuple[str, ...] = ()
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str = "") -> int:
        """Open a page of the index, wait until it is loaded, and return its status."""
        answer = self.page.goto(urljoin(self.base, path))
        return int(answer.status)

    def look(self, scheme: str, width: int) -> None:
        """Set the colour scheme, and the width of the window in pixels."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": 900})

    @contextmanager
    def anew(self, *, keeps_cookies: bool = False) -> Iterator[Self]:
        """Begin anew in this window, with its usual look; fail if the browser has complained."""
        if not keeps_cookies:
            self.page.context.clear_cookies()
        self.page.emulate_media(
            media="screen",
            color_scheme="light",
            forced_colors="none",
            reduced_motion="no-preference",
        )
        self.page.set_viewport_size(WINDOW)
        try:
            yield self
        finally:
            complaints = self.complaints.copy()
            self.complaints.clear()
        assert complaints == [], complaints

    def press(self, name: str) -> None:
        """Press the button with a label."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def follow(self, name: str) -> None:
        """Follow the link with a text."""
        self.page.get_by_role("link", name=name, exact=True).first.click()

    @property
    def path(self) -> str:
        """The path and query of the page that is open."""
        parts = urlsplit(self.page.url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    @property
    def text(self) -> str:
        """The visible text of the page."""
        return str(self.page.inner_text("body"))

    def watch(self) -> None:
        """Begin to collect complaints."""
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on("request", self._see)

    @property
    def _is_elsewhere(self) -> bool:
        return str(self.page.url).startswith(self.others)

    def _hear(self, message: Any) -> None:  # noqa: ANN401 - Playwright's `ConsoleMessage`
        if self._is_elsewhere:
            return
        is_page = message.location["url"] == self.page.url
        # a page with another status than 200 is one that somebody has to see, too
        if message.type != "error" or (is_page and "the server responded with" in message.text):
            return
        self.complaints.append(f"{self.page.url}: {message.text}")

    def _see(self, request: Any) -> None:  # noqa: ANN401 - Playwright's `Request`
        allowed = (self.base, *self.others, "data:", "blob:")
        if not self._is_elsewhere and not request.url.startswith(allowed):
            self.complaints.append(f"{self.page.url}: asks for {request.url}")


@dataclass(frozen=True)
class Browser:
    """A running browser; `chromium` is Playwright's `Browser`."""

    chromium: Any

    @contextmanager
    def person(
        self,
        base: str,
        others: tuple[str, ...] = (),
        **options: Any,  # noqa: ANN401 - of Playwright
    ) -> Iterator[Person]:
        """
        Let somebody look at the pages below a URL; fail if the browser has complained.

        `others` are the beginnings of other URLs that the pages may lead to. `options` are those of
        Playwright's `new_context`: `color_scheme`, `java_script_enabled`.
        """
        context = self.chromium.new_context(permissions=CLIPBOARD, **options)
        context.set_default_timeout(20_000)
        has_scripts = bool(options.get("java_script_enabled", True))
        person = Person(context.new_page(), f"{base}/", has_scripts, others)
        person.watch()
        try:
            yield person
        finally:
            context.close()
        assert person.complaints == [], person.complaints


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start Debian's Chromium; it ends with the block."""
    chromium = system_program("chromium")
    require_system_library("libatomic.so.1")  # for the program that comes with Playwright
    packages = str(site_packages(program("playwright", "python")))
    sys.path.append(packages)
    try:
        driver = importlib.import_module("playwright.sync_api")
        with driver.sync_playwright() as playwright:
            started = playwright.chromium.launch(
                executable_path=chromium, args=[*OPTIONS], ignore_default_args=[NO_BACK_CACHE]
            )
            yield Browser(started)
            started.close()
    finally:
        sys.path.remove(packages)
