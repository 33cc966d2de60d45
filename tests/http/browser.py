"""A browser that keeps the cookies of an application, as far as sessions need it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from tests.http.in_process import InProcessResponse, InProcessServer

HTML = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
FORM = ("Content-Type", "application/x-www-form-urlencoded")


@dataclass
class Browser:
    """A person's browser: it asks for pages, sends forms, and keeps the cookie it is given."""

    server: InProcessServer
    cookies: dict[str, str] = field(default_factory=dict)

    def open(self, target: str, *headers: tuple[str, str]) -> InProcessResponse:
        """Return the answer to GET of a path and query."""
        return self._keep(self.server.get(target, HTML, *self._cookie(), *headers))

    def send(
        self, target: str, fields: Mapping[str, str | Sequence[str]], *headers: tuple[str, str]
    ) -> InProcessResponse:
        """Return the answer to the POST of a form, which a page of the index has shown."""
        body = urlencode(fields, doseq=True).encode()
        origin = ("Origin", "http://index")
        every = (HTML, FORM, ("Content-Length", str(len(body))), *self._cookie())
        if not any(name == "Origin" for name, _ in headers):
            every = (*every, origin)
        return self._keep(self.server.get(target, *every, *headers, method="POST", body=[body]))

    def follow(self, answer: InProcessResponse) -> InProcessResponse:
        """Return the page to which the answer to a form leads."""
        assert answer.status == 303, answer.body
        return self.open(answer.headers["location"])

    def sign_in(self, user: str, password: str, next_path: str = "/") -> InProcessResponse:
        """Return the answer to the form of the sign-in page."""
        fields = {"user": user, "password": password, "next": next_path}
        return self.send("/-/sign-in/", fields)

    def form_token(self, target: str) -> str:
        """Return the anti-forgery token of the form on a page."""
        match = re.search(r'name="csrf_token" value="([^"]+)"', self.open(target).body.decode())
        assert match is not None
        return match[1]

    def _cookie(self) -> list[tuple[str, str]]:
        text = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return [("Cookie", text)] if text else []

    def _keep(self, response: InProcessResponse) -> InProcessResponse:
        pair, *attributes = response.headers.get("set-cookie", "").split("; ")
        name, _, value = pair.partition("=")
        if "Max-Age=0" in attributes:
            self.cookies.pop(name, None)
        elif name:
            self.cookies[name] = value
        return response
