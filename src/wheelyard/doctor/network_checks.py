"""Checks below HTTP: proxy, name, connection and certificate."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from msgspec import Struct

from wheelyard.doctor.client_settings import FoundSettings, Value
from wheelyard.doctor.connection import TIMEOUT_SECONDS, Connections, ProxyRules
from wheelyard.doctor.findings import Finding, Machine, failed, ok, shown, warning
from wheelyard.http_client.address_policy import FetchError, resolve
from wheelyard.http_client.urls import Url

TLS_PAGE: Final = "docs/tls.md"
UV_NOTE: Final = "; uv has a list of its own, unless UV_SYSTEM_CERTS is 1"
EXPIRED, NOT_YET_VALID, WRONG_HOST = 10, 9, 62
"""Numbers of OpenSSL's reasons why a certificate cannot be verified."""


class Authorities(Struct, frozen=True):
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
        if path.is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)


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
    except FetchError as fault:
        return failed("proxy", fault.why, "Correct the variable, or take it away.")
    if proxy is not None:
        login = " with a user and a password" if proxy.login else ""
        what = f"requests go through {shown(proxy)}{login} ({rules.variable_for(url)})"
        return ok("proxy", f"{what}; no_proxy does not name {url.host}")
    if not rules.names():
        return ok("proxy", "no variable names one")
    why = f"no_proxy names {url.host}" if rules.is_bypassed(url) else f"none is for {url.scheme}"
    return ok("proxy", f"not used: {why} (set: {', '.join(rules.names())})")


def check_name(url: Url, rules: ProxyRules) -> Finding:
    """Resolve the name of a server, or that of the proxy, which resolves the server's."""
    proxy = rules.proxy_for(url)
    place = proxy or url
    host, whose = place.host.strip("[]"), "" if proxy is None else "proxy "
    try:
        addresses = list(dict.fromkeys(resolve(host, place.port)))
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no name"
        advice = "Check the spelling, the network or VPN, and /etc/resolv.conf."
        if proxy is not None:
            advice = f"Correct {rules.variable_for(url)}, or take it away."
        return failed("name", f"{whose}{host} cannot be resolved: {why}", advice)
    return ok("name", f"{whose}{host} is {', '.join(addresses[:4])}")


class ConnectionCheck(Struct, frozen=True):
    """Connects to the server of a URL, with the rules for proxies."""

    url: Url
    rules: ProxyRules
    monotonic: Callable[[], float]

    def run(self, lists: list[Authorities]) -> Iterator[Finding]:
        """Connect, and verify the certificate by each list of authorities."""
        if not self.url.is_secure:
            yield self._connected(None)
            if not (self.url.host == "localhost" or self.url.host.startswith(("127.", "[::1]"))):
                text = "the URL begins with http://: pip refuses it, and others can read tokens"
                advice = f"Ask the operator for an https:// URL ({TLS_PAGE}, docs/operating.md)."
                yield warning("TLS", text, advice)
            return
        yield from map(self._connected, lists)

    def connections(self, tls: ssl.SSLContext) -> Connections:
        """Return what connects with settings for TLS."""
        return Connections(tls, self.rules, self.monotonic)

    def _connected(self, trusted: Authorities | None) -> Finding:
        proxy = self.rules.proxy_for(self.url)
        place = self.url.authority + (f" through {proxy.authority}" if proxy else "")
        try:
            tls = trusted.context() if trusted else ssl.create_default_context()
        except OSError as error:
            why = error.strerror if error.errno and not isinstance(error, ssl.SSLError) else None
            text = (
                f"{trusted.client} cannot read its authorities, {trusted.shown}" if trusted else ""
            )
            why = why or "there is no certificate in it"
            return failed("TLS", f"{text}: {why}", "Correct the setting, or take it away.")
        try:
            connection = self.connections(tls).connect(self.url)
        except ssl.SSLCertVerificationError as error:
            return self._untrusted(error, trusted.shown if trusted else "")
        except ssl.SSLError as error:
            advice = "Check the port, and whether the URL should begin with http://."
            why = error.reason or "no TLS is spoken there"
            return failed("TLS", f"{place}: TLS fails: {why}", advice)
        except (OSError, HTTPException) as error:
            advice = "Is the server running, and does a firewall or VPN let this machine through?"
            if proxy is not None:
                variable = self.rules.variable_for(self.url)
                advice = f"The proxy of {variable} refuses; name the host in no_proxy, or ask."
            return failed("connection", f"{place}: {_explained(error)}", advice)
        protocol = getattr(connection.sock, "version", lambda: "")()
        connection.close()
        if trusted is None:
            return ok("connection", f"{place} answers")
        how = f"verified by {trusted.shown}, as {trusted.client} does{trusted.note}"
        return ok("TLS", f"{place}: {protocol}, {how}")

    def _untrusted(self, error: ssl.SSLCertVerificationError, list_shown: str) -> Finding:
        subject, issuer, names, until = self._certificate()
        if error.verify_code == WRONG_HOST:
            text = f"its certificate is for {names}, and not for {self.url.host}"
            return failed("TLS", text, "Use a name of the certificate in the URL.")
        if error.verify_code in (EXPIRED, NOT_YET_VALID):
            text = f"its certificate is not valid now ({error.verify_message}; until {until})"
            advice = "The operator renews it; check the clock of this machine, too."
            return failed("TLS", text, advice)
        text = f"its certificate (for {subject}) is by {issuer}, which {list_shown} does not have"
        advice = f"Let the clients trust that authority: {TLS_PAGE}, 'An own authority'."
        return failed("TLS", f"{text}: {error.verify_message}", advice)

    def _certificate(self) -> tuple[str, str, str, str]:
        """Return subject, issuer, names and end of an unverified certificate, as far as known."""
        unverified = ssl.create_default_context()
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE  # nothing is sent there
        try:
            with closing(self.connections(unverified).connect(self.url)) as connection:
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


def _explained(error: Exception) -> str:
    """Return a clause for an error of a connection; none of them quotes what was sent."""
    if isinstance(error, TimeoutError):
        return f"it does not answer within {TIMEOUT_SECONDS:.0f} seconds"
    if isinstance(error, OSError):
        return error.strerror or str(error) or "the connection fails"
    return f"it answers with what is no HTTP ({type(error).__name__})"


def _shown(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return f"'{common[0].value!s}'" if common else f"'{name.rfc4514_string()}'"
