"""Checks below HTTP: proxy, name, connection and certificate."""

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from wheelyard.doctor.client_settings import FoundSettings, Value
from wheelyard.doctor.connection import (
    TIMEOUT_SECONDS,
    Connections,
    ProxyRules,
    RequestFailed,
    explained,
)
from wheelyard.doctor.findings import Finding, Machine, failed, ok, shown, warning
from wheelyard.http_client.urls import Url

TLS_PAGE: Final = "docs/tls.md"
UV_NOTE: Final = "; uv has a list of its own, unless UV_SYSTEM_CERTS is 1"
EXPIRED, NOT_YET_VALID, WRONG_HOST = 10, 9, 62
"""Numbers of OpenSSL's reasons why a certificate cannot be verified."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """A list of authorities that a client trusts: a file that a setting names, or the machine's."""

    client: str
    file: Value | None
    note: str = ""
    """What to say of other clients."""

    @property
    def shown(self) -> str:
        """The list, for messages."""
        return f"{self.file.text} ({self.file.source})" if self.file else "this machine's list"

    def context(self) -> ssl.SSLContext:
        """Return the settings of a client that trusts them; raise OSError for a bad file."""
        if self.file is None:
            return ssl.create_default_context()
        path = Path(self.file.text).expanduser()
        found = ssl.create_default_context(cafile=None if path.is_dir() else path, cadata=None)
        if path.is_dir():
            found.load_verify_locations(capath=path)
        return found


def authorities(pip: FoundSettings, uv: FoundSettings, machine: Machine) -> list[Authorities]:
    """Return the lists of authorities of pip and uv; one if they trust the same file."""

    def variable(*names: str) -> Value | None:
        name, text = machine.variable(*names)
        return Value(text, f"${name}") if text else None

    of_pip = pip.winner("cert") or variable("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    of_uv = variable("SSL_CERT_FILE")
    if of_uv is None and not uv.text("system-certs"):
        return [Authorities("pip", of_pip, UV_NOTE)]
    if of_pip is None or of_uv is None or of_pip.text == of_uv.text:
        return [Authorities("each client", of_pip or of_uv)]
    return [Authorities("pip", of_pip), Authorities("uv", of_uv)]


def check_proxy(url: Url, rules: ProxyRules) -> Finding:
    """Say which proxy applies to a URL."""
    try:
        proxy = rules.proxy_for(url)
    except RequestFailed as fault:
        return failed("proxy", str(fault), "Correct the variable, or take it away.")
    if proxy is not None:
        login = " with a user and a password" if proxy.url.login else ""
        what = f"requests go through {shown(proxy.url)}{login} ({proxy.variable})"
        return ok("proxy", f"{what}; no_proxy does not name {url.host}")
    if not rules.names():
        return ok("proxy", "no variable names one")
    why = f"no_proxy names {url.host}" if rules.is_bypassed(url) else f"none is for {url.scheme}"
    return ok("proxy", f"not used: {why} (set: {', '.join(rules.names())})")


def check_name(url: Url, rules: ProxyRules) -> Finding:
    """Resolve the name of a server, or that of the proxy, which resolves the server's."""
    proxy = rules.proxy_for(url)
    place = url if proxy is None else proxy.url
    host, whose = place.host.strip("[]"), "" if proxy is None else "proxy "
    try:
        addresses = _addresses(host, place.port)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no name"
        advice = "Check the spelling, the network or VPN, and /etc/resolv.conf."
        if proxy is not None:
            advice = f"Correct {proxy.variable}, or take it away."
        return failed("name", f"{whose}{host} cannot be resolved: {why}", advice)
    return ok("name", f"{whose}{host} is {', '.join(addresses[:4])}")


def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host; raise OSError or UnicodeError."""
    result = Future[list[str]]()

    def resolve() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            result.set_result(list(dict.fromkeys(str(each[4][0]) for each in found)))
        except (OSError, UnicodeError) as error:
            result.set_exception(error)

    # a resolver without an answer takes longer, and cannot be stopped
    Thread(target=resolve, daemon=True).start()
    try:
        return result.result(TIMEOUT_SECONDS)
    except TimeoutError:
        raise OSError(0, "the name server does not answer") from None


def check_connection(url: Url, lists: list[Authorities], rules: ProxyRules) -> Iterator[Finding]:
    """Connect to the server, and verify its certificate by each list of authorities."""
    if not url.is_secure:
        yield _connected(url, Connections(ssl.create_default_context(), rules))
        if not _is_local(url):
            text = "the URL begins with http://, so that pip refuses it, and others can read tokens"
            advice = "Ask the operator for an https:// URL (docs/tls.md, docs/operating.md)."
            yield warning("TLS", text, advice)
        return
    for each in lists:
        try:
            context = each.context()
        except OSError as error:
            why = error.strerror or "there is no certificate in it"
            text = f"{each.client} cannot read its authorities, {each.shown}: {why}"
            yield failed("TLS", text, "Correct the setting, or take it away.")
            continue
        yield _connected(url, Connections(context, rules), each)


def _is_local(url: Url) -> bool:
    return url.host == "localhost" or url.host.startswith(("127.", "[::1]"))


def _connected(url: Url, connections: Connections, trusted: Authorities | None = None) -> Finding:
    check = "TLS" if trusted else "connection"
    proxy = connections.proxies.proxy_for(url)
    place = url.authority if proxy is None else f"{url.authority} through {proxy.url.authority}"
    try:
        connection = connections.connect(url)
    except ssl.SSLCertVerificationError as error:
        return _untrusted(error, url, connections, trusted)
    except ssl.SSLError as error:
        advice = "Check the port, and whether the URL should begin with http://."
        return failed(check, f"{place}: {explained(error)}", advice)
    except (OSError, HTTPException) as error:
        advice = "Is the server running, and does a firewall or VPN let this machine through?"
        if proxy is not None:
            advice = f"The proxy of {proxy.variable} refuses; name the host in no_proxy, or ask."
        return failed("connection", f"{place}: {explained(error)}", advice)
    protocol = getattr(connection.sock, "version", lambda: "")()
    connection.close()
    if trusted is None:
        return ok("connection", f"{place} answers")
    return ok(
        "TLS",
        f"{place}: {protocol}, verified by {trusted.shown}, as {trusted.client} does{trusted.note}",
    )


def _untrusted(
    error: ssl.SSLCertVerificationError,
    url: Url,
    connections: Connections,
    trusted: Authorities | None,
) -> Finding:
    list_shown = trusted.shown if trusted else ""
    subject, issuer, names, until = _certificate(url, connections.proxies)
    if error.verify_code == WRONG_HOST:
        text = f"its certificate is for {names}, and not for {url.host}"
        return failed("TLS", text, "Use a name of the certificate in the URL.")
    if error.verify_code in (EXPIRED, NOT_YET_VALID):
        text = f"its certificate is not valid now ({error.verify_message}; until {until})"
        return failed("TLS", text, "The operator renews it; check the clock of this machine, too.")
    text = f"its certificate (for {subject}) is by {issuer}, which {list_shown} does not have"
    advice = f"Let the clients trust that authority: {TLS_PAGE}, 'An own authority'."
    return failed("TLS", f"{text}: {error.verify_message}", advice)


def _certificate(url: Url, rules: ProxyRules) -> tuple[str, str, str, str]:
    """Return subject, issuer, names and end of an unverified certificate, as far as known."""
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE  # nothing is sent there
    try:
        connection = Connections(unverified, rules).connect(url)
        with closing(connection):
            assert isinstance(connection.sock, ssl.SSLSocket)  # noqa: S101 - the URL is https
            content = connection.sock.getpeercert(binary_form=True)
        found = x509.load_der_x509_certificate(content or b"")
    except (OSError, HTTPException, ValueError):
        return "?", "an unknown authority", "?", "?"
    names = list[str]()
    with suppress(x509.ExtensionNotFound, ValueError):
        extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names += extension.value.get_values_for_type(x509.DNSName)
        names += map(str, extension.value.get_values_for_type(x509.IPAddress))
    end = f"{found.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    return _shown(found.subject), _shown(found.issuer), ", ".join(names) or "no name", end


def _shown(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return f"'{common[0].value!s}'" if common else f"'{name.rfc4514_string()}'"
