"""The whole examination: settings, network and server, in this order."""

import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote

from msgspec import structs

from wheelyard.doctor.client_settings import (
    FoundSettings,
    Value,
    pip_settings,
    uv_settings,
)
from wheelyard.doctor.connection import Connections, ProxyRules
from wheelyard.doctor.credentials import FoundCredential, find_credentials, publish_credentials
from wheelyard.doctor.findings import CheckOutcome, Finding, Machine, warning
from wheelyard.doctor.network_checks import (
    ConnectionCheck,
    authorities,
    check_name,
    check_proxy,
)
from wheelyard.doctor.server_checks import ServerCheck
from wheelyard.doctor.settings_checks import check_client, configured_indexes, used_index
from wheelyard.errors import Invalid
from wheelyard.http_client.urls import Url

COMMAND_LINE: Final = "the command line"
MIN_SECRET_LENGTH: Final = 4
"""A shorter word is no secret, and may be a part of any text."""


@dataclass(frozen=True, slots=True)
class Examination:
    """An examination of an index URL from a machine."""

    machine: Machine
    clients: tuple[FoundSettings, FoundSettings]
    """pip and uv."""
    url: Url
    """The index URL; it may have a credential."""
    given: Url
    """The URL that it was made of."""
    source: str
    """The file, variable or option that has the URL."""
    project: str
    secrets: set[str] = field(default_factory=set, repr=False)

    def run(self) -> Iterator[Finding]:
        """Yield all findings; a failed check leaves out those that depend on it."""
        for finding in self._findings():
            yield structs.replace(finding, text=self._without_secrets(finding.text))

    def _without_secrets(self, text: str) -> str:
        """Return a text without the secrets that a response may have quoted."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _keep_secrets(self, found: Iterable[FoundCredential]) -> None:
        for login in (each.login for each in found):
            secret, header = login.password or login.username, login.authorization[6:]
            words = (secret, quote(secret, safe=""), header)
            self.secrets.update(word for word in words if len(word) >= MIN_SECRET_LENGTH)

    def _findings(self) -> Iterator[Finding]:
        pip, uv = self.clients
        for client in self.clients:
            yield from check_client(client, self.url, self.machine.environ.get("PATH", ""))
        rules = ProxyRules(_with_proxy_of(pip, self.machine))
        for step in (check_proxy, check_name):
            finding = step(self.url, rules)
            yield finding
            if finding.outcome is CheckOutcome.FAILED:
                return
        lists = authorities(pip, uv, self.machine)
        check = ConnectionCheck(self.url, rules, self.machine.runtime.monotonic)
        findings = list(check.run(lists))
        yield from findings
        if any(each.outcome is CheckOutcome.FAILED for each in findings):
            return
        tls = lists[0].context() if self.url.is_secure else ssl.create_default_context()
        yield from self._server(check.connections(tls))

    def _server(self, connections: Connections) -> Iterator[Finding]:
        indexes = configured_indexes(self.clients)
        configured = [each for each in indexes if each.source != self.source]
        found, notes = find_credentials(self.url, self.source, configured, self.machine)
        self._keep_secrets(found)
        index, given = (replace(each, login=None) for each in (self.url, self.given))
        check = ServerCheck(index, given, connections, self.machine, self.project)
        yield from check.run(found, notes)
        if check.api is not None:
            yield from self._publishing(check, check.api)

    def _publishing(self, check: ServerCheck, api: Url) -> Iterator[Finding]:
        """Say whether the credentials that are set for publishing to this server may upload."""
        found, problems = publish_credentials(self.url, self.clients[1], self.machine)
        for problem in problems:
            yield warning("publish", problem, "Correct the file: twine stops, or ignores it.")
        self._keep_secrets(found)
        for credential in found:
            yield check.publishing(api, credential)


def examination(text: str | None, project: str, machine: Machine) -> Examination:
    """Return the examination of a URL, or of the one that pip or uv asks; raise Invalid."""
    clients = pip_settings(machine), uv_settings(machine)
    found = next(filter(None, map(used_index, clients)), None)
    if text is not None:
        found = Value(text, COMMAND_LINE)
    if found is None:
        problems = "".join(f" {each}." for client in clients for each in client.problems)
        raise Invalid(
            f"No index is set here for pip or uv, so that both ask the public one.{problems} "
            "Give the URL of yours: wheelyard doctor URL.",
            code="bad_setting",
        )
    given = found.url
    if given is None:
        message = f"The URL of {found.source} cannot be used. Give one that begins with https://."
        raise Invalid(message, code="bad_setting")
    url = given if text is None else _index_of(given)
    return Examination(machine, clients, url, given, found.source, project)


def _index_of(url: Url) -> Url:
    """Return the index URL for any URL of a server: its root, its index, or where one uploads."""
    folder, simple, _ = url.as_folder().path.partition("/simple/")
    path = folder + simple
    if not simple and not url.path.rstrip("/").endswith("simple"):  # as in /+simple/
        path = f"{url.path.rstrip('/').removesuffix('/legacy')}/simple/"
    return replace(url, path=path, query="", fragment="")


def _with_proxy_of(pip: FoundSettings, machine: Machine) -> dict[str, str]:
    """Return the environment with pip's own setting of a proxy, which beats all variables."""
    proxy = pip.text("proxy")
    own = {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": "", "NO_PROXY": ""}
    return {**machine.environ, **(own if proxy else {})}
