"""
Requests to the index of a server from another machine, with the credential of a person.

No redirect is followed, so a credential reaches the named server alone. Over plain http a
credential is sent to a server on this machine only. Proxies of the environment are used, except
for a server on this machine.
"""

import re
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import file_digest
from os import pathsep
from pathlib import Path
from shutil import which
from typing import Final, TypeVar
from urllib.parse import unquote

from msgspec import DecodeError, Raw, Struct
from msgspec.json import decode, encode

from wheelyard import errors
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid, Unauthenticated, Unavailable, WheelyardError, quoted
from wheelyard.http_client.client import (
    GATEWAY_STATUSES,
    MIN_BYTES_PER_SECOND,
    REDIRECT_STATUSES,
    ClientResponse,
    Network,
    Requester,
    Retries,
)
from wheelyard.http_client.credential_stores import ask_keyring, read_netrc
from wheelyard.http_client.hosts import AddressPolicy, FetchError, every_address
from wheelyard.http_client.urls import BadUrl, Url, UserPassword, parse_url
from wheelyard.model.decoding import escaped
from wheelyard.model.index_name import MAIN, parse_index_name, read_index_name
from wheelyard.remedies import Advice
from wheelyard.settings.sections import is_loopback

T = TypeVar("T")

TOKEN_VARIABLE: Final = "WHEELYARD_TOKEN"  # noqa: S105 - the name of a variable
KEYRING_SECONDS: Final = 60.0
"""How long one question to a keyring may take, which may ask a person to unlock it."""
INDEX_PATHS: Final = ("simple/", "legacy/")
"""The ends of URLs for installers and publishing clients, which people copy."""

MAX_ATTEMPTS: Final = 3
"""Attempts of a request that may be repeated."""
ANSWER_START_SECONDS: Final = 30.0
"""Seconds until the headers of an answer are there. After an upload it may take longer."""
UPLOAD_START_SECONDS: Final = 60.0
"""Seconds until the headers of the answer to an upload are there, beside the time to send it."""
ANSWER_LIMIT_BYTES: Final = 64 * 1024**2
CHUNK_BYTES: Final = 1024**2
_FILENAME_ESCAPES: Final = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""How browsers write these characters in the name of a file."""
_CLASS_BY_STATUS: Final[Mapping[int, type[WheelyardError]]] = {
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.TooLarge,
    429: errors.Unavailable,
}
"""The class of an error by its status. Another status is Invalid below 500, else Unavailable."""

HIDDEN: Final = "(not shown: it has your credential in it)"
"""What stands in place of a text of an answer that has the credential in it."""
MIN_FOLDED_CHARS: Final = 8
"""The fewest letters and digits of a secret that is found in any spelling: fewer may be a word."""
PART_CHARS: Final = 16
"""How many letters and digits in a row of a secret hide a text. The id of a token has fewer."""
MIN_SHORT_CHARS: Final = 4
"""The fewest characters of a secret that is looked for: fewer are in nearly every text."""
_NOT_COMPARED: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[^A-Za-z0-9]+")
"""What a comparison leaves out: control sequences of terminals, and all but letters and digits."""


@dataclass(frozen=True, slots=True)
class ServerCredential:
    """The value of an Authorization header, and where it was found."""

    header: str = field(repr=False)
    source: str
    """For messages: `WHEELYARD_TOKEN`, `the keyring`, or the path of a netrc file."""


def find_credential(server: Url, environ: Mapping[str, str]) -> ServerCredential | None:
    """
    Return the credential for a server, or None if there is none.

    The environment comes first, then the keyring, then netrc. The keyring may ask a person to
    unlock it. A netrc file that cannot be read counts as missing. Raises Invalid (code
    `bad_setting`) if the token of the environment is malformed, or the keyring cannot be run or
    does not answer in time.
    """
    token = environ.get(TOKEN_VARIABLE, "").strip()
    if token:
        if not token.isascii() or not token.isprintable() or " " in token:
            message = f"{TOKEN_VARIABLE} has characters that no token has. Copy the token again."
            raise Invalid(message, code="bad_setting")
        return ServerCredential(f"Bearer {token}", TOKEN_VARIABLE)
    login = _ask_keyring(server, environ)
    if login is not None:
        return ServerCredential(login.authorization, "the keyring")
    path = Path(environ.get("NETRC") or Path.home() / ".netrc")
    # netrc has IPv6 addresses without brackets
    login = read_netrc(path).get(server.host.strip("[]"))
    if login is not None:
        return ServerCredential(login.authorization, str(path))
    return None


def keyring_path(environ: Mapping[str, str]) -> str | None:
    """Return the path of the command `keyring`, or None if it is not installed."""
    # the keyring of this environment need not be in PATH
    own_folder = Path(sys.executable).parent
    folders = f"{environ.get('PATH', '')}{pathsep}{own_folder}"
    return which("keyring", path=folders)


def _ask_keyring(server: Url, environ: Mapping[str, str]) -> UserPassword | None:
    """
    Return the login that the keyring has for a server.

    None if no keyring is installed, or it has no login for the server. Raises Invalid (code
    `bad_setting`) if the keyring cannot be run or does not answer in time.
    """
    program = keyring_path(environ)
    if program is None:
        return None
    try:
        return ask_keyring(program, server, environ, KEYRING_SECONDS)
    except TimeoutError:
        raise Invalid(
            f"{program} does not answer within {KEYRING_SECONDS:.0f} seconds. Unlock your keyring, "
            f"or put a token into {TOKEN_VARIABLE}.",
            code="bad_setting",
        ) from None
    except OSError as error:
        raise Invalid(
            f"{program} cannot be run: {error.strerror}. Repair or remove it, or put a token into "
            f"{TOKEN_VARIABLE}.",
            code="bad_setting",
        ) from None


class SecretFilter:
    """
    Hides the texts of answers that have the credential of an Authorization header in them.

    A server, or a proxy before it, may repeat a request in its error, which then would be in a
    terminal, a log of CI, or a question to a colleague.
    """

    def __init__(self, header: str = "") -> None:
        self._folded_secrets = set[str]()
        """Secrets that are found in any spelling, reduced to their letters and digits."""
        self._secret_parts = set[str]()
        """Parts of secrets: a server may show only the beginning of a token."""
        self._short_secrets = set[str]()
        """Secrets that are found as they are written."""
        for secret in _secrets_in(header):
            folded = _fold(secret)
            self._secret_parts.update(_parts_of(folded))
            if len(folded) >= MIN_FOLDED_CHARS:
                self._folded_secrets.add(folded)
            elif len(secret) >= MIN_SHORT_CHARS:
                self._short_secrets.add(secret)
        # a user name alone is no secret, and may be long
        for login in _logins_in(header):
            self._folded_secrets.add(_fold(login))

    def message(self, text: str) -> str:
        """Return a text escaped for a terminal, or HIDDEN if the credential is in it."""
        if any(short in text for short in self._short_secrets):
            return HIDDEN
        return self._filter_text(text)

    def json(self, body: bytes) -> bytes:
        """
        Return a JSON document with texts that have the credential replaced, and all others escaped.

        Secrets of fewer than MIN_FOLDED_CHARS letters and digits are found by `message` alone.
        Raises DecodeError if the body is not JSON, or nested too deeply.
        """
        try:
            return encode(self._filter_value(decode(body)))
        except (UnicodeDecodeError, RecursionError) as error:
            raise DecodeError("it is not JSON, or nested too deeply") from error

    def _filter_value(self, value: object) -> object:
        if isinstance(value, str):
            return self._filter_text(value)
        if isinstance(value, list):
            return [self._filter_value(element) for element in value]
        if isinstance(value, dict):
            # the names, too: a stranger's answer may have any
            return {
                self._filter_text(name): self._filter_value(member)
                for name, member in value.items()
            }
        return value

    def _filter_text(self, text: str) -> str:
        # a server may repeat the secret as a part of a URL, with other characters quoted
        for spelling in {_fold(text), _fold(unquote(text))}:
            has_secret = any(secret in spelling for secret in self._folded_secrets)
            if has_secret or not self._secret_parts.isdisjoint(_parts_of(spelling)):
                return HIDDEN
        return escaped(text)


def _secrets_in(header: str) -> Iterator[str]:
    """Yield the secrets in an Authorization header: its value, and for Basic also the password."""
    yield header.partition(" ")[2]
    for login in _logins_in(header):
        yield login.partition(":")[2]


def _logins_in(header: str) -> Iterator[str]:
    """Yield `USER:PASSWORD` of a header for Basic (RFC 7617), or nothing for another scheme."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        yield b64decode(value).decode("utf-8", "replace")


def _parts_of(folded: str) -> Iterator[str]:
    """Yield each run of PART_CHARS characters in a text. A shorter text has no such run."""
    for start in range(len(folded) - PART_CHARS + 1):
        yield folded[start : start + PART_CHARS]


def _fold(text: str) -> str:
    """Return the letters and digits of a text, in lower case."""
    return _NOT_COMPARED.sub("", text).lower()


@dataclass(slots=True)
class UploadForm:
    """The form that uploads one file. The file is read anew each time the form is sent."""

    path: Path
    file_size: int
    boundary: str
    head: bytes
    """The bytes of the form before those of the file."""
    progress: Callable[[int], None]
    """Called with the size of each chunk, and with a negative one if the file is sent again."""
    _sent_bytes: int = field(default=0, init=False)

    @property
    def tail(self) -> bytes:
        """The bytes of the form behind those of the file."""
        return f"\r\n--{self.boundary}--\r\n".encode()

    @property
    def size(self) -> int:
        """How many bytes the whole form has."""
        return len(self.head) + self.file_size + len(self.tail)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the request."""
        return {
            "Content-Type": f"multipart/form-data; boundary={self.boundary}",
            "Content-Length": str(self.size),
        }

    def chunks(self) -> Iterator[bytes]:
        """
        Yield the form from its beginning, in chunks.

        Raises Invalid if the file cannot be read, or has another size than in `open_form`.
        """
        # takes the bytes of an earlier attempt back from the progress, as they are sent again
        self.progress(-self._sent_bytes)
        self._sent_bytes = 0
        yield self.head
        for chunk in _read_chunks(self.path):
            self._sent_bytes += len(chunk)
            # no more than Content-Length says, so that the server sees a form that is cut off
            if self._sent_bytes > self.file_size:
                break
            yield chunk
            self.progress(len(chunk))
        if self._sent_bytes != self.file_size:
            raise Invalid(
                f"{quoted(self.path.name)} was changed while it was uploaded. Upload it again.",
                code="digest_mismatch",
            )
        yield self.tail


def open_form(
    path: Path, boundary: str, progress: Callable[[int], None], attestations: str = ""
) -> UploadForm:
    """
    Return the form that uploads a file, with the digest that the file has now.

    The form holds no open file. `progress` is called while the form is sent, as the field of
    `UploadForm` says. `attestations` is the JSON of the file's attestations, or an empty text.
    Raises Invalid (code `invalid_filename`) if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        raise _unreadable_file_error(path, error) from error
    fields = {":action": "file_upload", "protocol_version": "1", "sha256_digest": digest}
    if attestations:
        fields["attestations"] = attestations
    head = _form_head(fields, path.name, boundary)
    return UploadForm(path, size, boundary, head, progress)


def _form_head(fields: Mapping[str, str], filename: str, boundary: str) -> bytes:
    """Return the beginning of a form, up to the first byte of the file."""
    # the file comes last, so that the server knows the digest before the first byte of the file
    text = ""
    for name, value in fields.items():
        text += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
    escaped_filename = filename.translate(_FILENAME_ESCAPES)
    text += f"--{boundary}\r\nContent-Disposition: form-data; "
    text += f'name="content"; filename="{escaped_filename}"\r\n\r\n'
    # bytes of the filename that are not UTF-8 are sent as they are, and the server refuses them
    return text.encode(errors="surrogateescape")


def _read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file in chunks. Raises Invalid if the file cannot be read."""
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise _unreadable_file_error(path, error) from error


def _unreadable_file_error(path: Path, error: OSError) -> Invalid:
    return Invalid(
        f"{path} cannot be read: {error.strerror}. Name a wheel or an sdist that is there.",
        code="invalid_filename",
    )


class _Refusal(Struct, frozen=True):
    """The JSON body of an answer that tells of an error."""

    message: str
    error: str
    """The code of the error."""
    fact: str = ""
    """The message without the advice."""
    advice: Raw = Raw()

    @property
    def known_advice(self) -> Advice | None:
        """The advice of the body, or None if the body has none that this version can read."""
        # a newer server may have other remedies, and its message has them in words
        try:
            return decode(self.advice, type=Advice)
        except DecodeError:
            return None

    def message_beside(self, advice: Advice | None) -> str:
        """Return the fact alone if the words of `advice` are shown beside it, else the message."""
        if advice is None:
            return self.message
        return self.fact


def parse_server(text: str) -> Url:
    """
    Return the root URL of a server, from that URL or from the one for installers or uploads.

    Raises Invalid (code `bad_setting`) if the text is no URL of http or https, or has a credential
    or a query in it.
    """
    try:
        url = parse_url(text)
    except BadUrl as error:
        message = "Write the root URL of a server, such as https://packages.acme.dev/."
        raise Invalid(message, code="bad_setting") from error
    if url.login is not None or url.query:
        raise Invalid(
            "The URL of the server has a credential or a query, which others on this machine can "
            "read. Write the root URL alone.",
            code="bad_setting",
        )
    path = f"{url.path.rstrip('/')}/"
    for ending in INDEX_PATHS:
        path = path.removesuffix(ending)
    return parse_url(f"{url.scheme}://{url.authority}{path}")


def open_connection(
    server: str, environ: Mapping[str, str], runtime: Runtime, index: str = MAIN
) -> "ApiConnection":
    """
    Return a connection to an index of a server, before any request is sent.

    Raises Invalid if `server` is no URL, if `index` can be no name of an index, if the token of the
    environment is malformed, if the keyring cannot be run or does not answer, or if the credential
    would leave this machine unencrypted (code `https_required`).
    """
    root = parse_server(server)
    url = index_url(root, index)
    # a keyring may have one for the index, and one for all of the server
    credential = find_credential(url, environ)
    if credential is None and url != root:
        credential = find_credential(root, environ)
    return ApiConnection(url, credential, runtime)


def index_url(root: Url, index: str) -> Url:
    """
    Return the root URL of an index of a server. For main, that is the root URL of the server.

    Raises Invalid (code `invalid_index`) if no index can have the name.
    """
    if read_index_name(index) == MAIN:
        return root
    return parse_url(f"{root.redacted.rstrip('/')}/{parse_index_name(index)}/")


def is_safe_for_credentials(server: Url) -> bool:
    """Return whether a credential for a server is encrypted, or does not leave this machine."""
    return server.is_secure or _is_on_this_machine(server)


def _is_on_this_machine(server: Url) -> bool:
    """Return whether the host of a server is `localhost` or a loopback address."""
    return is_loopback(server.host.strip("[]"))


class _Request(Struct, frozen=True):
    """A request to the server, which may be sent several times."""

    method: str
    path: str
    """Below the root URL of the index, without a slash at its beginning."""
    headers: Mapping[str, str]
    body: bytes | UploadForm | None
    answer_start_seconds: float
    """The time limit until the headers of the answer are there."""


class ApiConnection:
    """
    Sends requests to one server.

    Threads may share it. The constructor raises Invalid (code `https_required`) if a credential
    would leave this machine unencrypted.

    `send`, `fetch` and `upload` raise the error that the server answers with, in the class of its
    status, with its code. They raise Unavailable (code `server_unavailable`) if there is no answer,
    or only that of a gateway. They raise Invalid (code `no_index`) for a redirect, or an answer
    that is not that of a wheelyard server.
    """

    def __init__(self, server: Url, credential: ServerCredential | None, runtime: Runtime) -> None:
        if credential is not None and not is_safe_for_credentials(server):
            raise Invalid(
                f"{server.redacted} would get the credential of {credential.source} unencrypted. "
                "Write https://, or make a tunnel to a port of this machine ('ssh -L').",
                code="https_required",
            )
        self.server = server
        self.runtime = runtime
        self._credential = credential
        header = credential.header if credential else ""
        self._secrets = SecretFilter(header)
        # a person has named the server, so it may have any address, but no other scheme
        policies = {server.scheme: AddressPolicy(is_allowed=every_address)}
        network = Network(policies=policies, uses_proxies=not _is_on_this_machine(server))
        self._requester = Requester(runtime, network)

    @property
    def has_credential(self) -> bool:
        """Whether requests have a credential."""
        return self._credential is not None

    def close(self) -> None:
        """Close every connection."""
        self._requester.close()

    def send(
        self,
        method: str,
        path: str,
        kind: type[T],
        fields: object = None,
        *,
        repeats: bool = True,
    ) -> T:
        """
        Send a request, with `fields` as JSON, and return the answer as a `kind`.

        `path` is below `api/v1/` of the index. The texts of the answer are escaped for a terminal,
        and hidden if they have the credential in them. With `repeats`, the request is sent again
        after a transient failure.
        """
        content = None
        headers = dict[str, str]()
        if fields is not None:
            content = encode(fields)
            headers["Content-Type"] = "application/json"
        request = _Request(method, f"api/v1/{path}", headers, content, ANSWER_START_SECONDS)
        attempts = MAX_ATTEMPTS if repeats else 1
        return self._send_with_retries(request, self._body_decoder(kind), attempts)

    def fetch(self, path: str) -> bytes:
        """
        Return the bytes at a path below the URL of the index, outside of its API.

        Nothing in the bytes is escaped or hidden. The request is sent again after a transient
        failure.
        """
        request = _Request("GET", path, {}, None, ANSWER_START_SECONDS)
        return self._send_with_retries(request, bytes, MAX_ATTEMPTS)

    def upload(self, form: UploadForm, kind: type[T]) -> T:
        """
        Upload a file, and return the answer as a `kind`.

        The form is sent again after a transient failure. The texts of the answer are escaped and
        hidden as `send` does. Raises Invalid, too, if the file has changed or cannot be read any
        more.
        """
        # may be repeated after a failure: the same file again is no error
        seconds = UPLOAD_START_SECONDS + form.size / MIN_BYTES_PER_SECOND
        request = _Request("POST", "legacy/", form.headers, form, seconds)
        return self._send_with_retries(request, self._body_decoder(kind), MAX_ATTEMPTS)

    def _body_decoder(self, kind: type[T]) -> Callable[[bytes], T]:
        """
        Return a function that decodes a `kind` from the JSON of an answer.

        The function hides the credential, and raises DecodeError for a body that is no `kind`.
        """

        def decode_body(body: bytes) -> T:
            # 204 has no body, and is the answer of an operation that returns nothing
            document = self._secrets.json(body or b"null")
            return decode(document, type=kind)

        return decode_body

    def _send_with_retries(self, request: _Request, read: Callable[[bytes], T], attempts: int) -> T:
        """Send a request up to `attempts` times, and return what `read` makes of the body."""
        try:
            return Retries(self.runtime, attempts).run(self._send_once, request, read)
        except FetchError as fault:
            # the error that the server answered with, if it was the last attempt's
            if isinstance(fault.__cause__, WheelyardError):
                raise fault.__cause__ from None
            raise self._no_answer_error(fault) from fault

    def _send_once(self, request: _Request, read: Callable[[bytes], T]) -> T:
        """
        Send a request once, and return what `read` makes of the body of the answer.

        Raises FetchError if the request may be sent again.
        """
        url = parse_url(f"{self.server.without_userinfo}{request.path}")
        headers = {"User-Agent": "wheelyard", "Accept": "application/json"}
        headers.update(request.headers)
        if self._credential is not None:
            headers["Authorization"] = self._credential.header
        # a form begins anew with each attempt
        body = request.body.chunks() if isinstance(request.body, UploadForm) else request.body
        try:
            response = self._requester.send(
                request.method, url, headers, body, request.answer_start_seconds
            )
        except FetchError as fault:
            # another attempt might take as long as this one
            if fault.is_late:
                raise self._no_answer_error(fault) from fault
            raise
        return self._read_response(response, read)

    def _no_answer_error(self, fault: FetchError) -> Unavailable:
        advice = "Check the URL and whether the server runs, and try again."
        if "certificate" in fault.why:
            advice = "SSL_CERT_FILE names the file of an authority that this machine does not know."
        return Unavailable(
            f"No answer from {self.server.redacted}: {self._secrets.message(fault.why)}. {advice}",
            code="server_unavailable",
        )

    def _read_response(self, response: ClientResponse, read: Callable[[bytes], T]) -> T:
        """
        Return what `read` makes of the body of a response.

        Raises the error that the response tells of, as a FetchError if a retry may succeed.
        """
        with closing(response):
            # a wrong URL may be a stranger's: so the size is limited, and texts are escaped
            body = bytes(response.body(ANSWER_LIMIT_BYTES))
        if response.status in range(200, 300):
            try:
                return read(body)
            except DecodeError as error:
                raise self._no_index_error(response) from error
        refusal = self._refusal_error(response, body)
        # an upstream index that is down stays so for longer than a person waits
        is_upstream = refusal.code in (errors.UPSTREAM_UNAVAILABLE, errors.UPSTREAM_UNPROVEN)
        if response.status in GATEWAY_STATUSES and not is_upstream:
            raise self._requester.status_error(response) from refusal
        raise refusal

    def _refusal_error(self, response: ClientResponse, body: bytes) -> WheelyardError:
        """Return the error that a response tells of, as the server has raised it."""
        status = response.status
        if status in REDIRECT_STATUSES:
            return self._redirect_error(response)
        try:
            refusal = decode(self._secrets.json(body), type=_Refusal)
        except DecodeError:
            return self._no_index_error(response)
        if status == 401:  # noqa: PLR2004 - its name says no more
            return self._unauthenticated_error(refusal)
        advice = refusal.known_advice
        message = self._secrets.message(refusal.message_beside(advice))
        code = self._secrets.message(refusal.error)
        if message == HIDDEN:
            message = (
                f"{self.server.redacted} answers with status {status}, and repeats the credential "
                "that it got, so its message is not shown. Ask its operator what it says."
            )
        error_class = _CLASS_BY_STATUS.get(status)
        if error_class is None:
            error_class = Invalid if status < 500 else Unavailable  # noqa: PLR2004
        return error_class(message, code=code, advice=advice)

    def _unauthenticated_error(self, refusal: _Refusal) -> Unauthenticated:
        server = self.server.redacted
        if self._credential is None:
            return Unauthenticated(
                f"{server} asks for a credential. Put a token into {TOKEN_VARIABLE}, or a user "
                "name and a password into the keyring or ~/.netrc.",
                code=self._secrets.message(refusal.error),
            )
        why = "It may have expired, be revoked, or be for another server."
        advice = None
        if refusal.error in (errors.TOKEN_EXPIRED, errors.TOKEN_REVOKED):
            advice = refusal.known_advice
            why = self._secrets.message(refusal.message_beside(advice))
        return Unauthenticated(
            f"{server} does not accept the credential of {self._credential.source}. {why}",
            code=self._secrets.message(refusal.error),
            advice=advice,
        )

    def _redirect_error(self, response: ClientResponse) -> Invalid:
        # a redirect is not followed: another server would get the credential for this one
        try:
            target = self.server.resolved(response.headers.get("location", "")).redacted
            target = f"to {self._secrets.message(target)}"
        except BadUrl:
            target = "to somewhere else"
        return Invalid(
            f"{self.server.redacted} redirects {target}. Give the root URL of the index itself: a "
            "page for logging in keeps programs out.",
            code="no_index",
        )

    def _no_index_error(self, response: ClientResponse) -> WheelyardError:
        server = self.server.redacted
        status = response.status
        # a gateway in front of the server answers so
        if status >= 500:  # noqa: PLR2004 - its name says no more
            return Unavailable(
                f"{server} answers with status {status}. Try again; if that does not help, ask its "
                "operator.",
                code="server_unavailable",
            )
        return Invalid(
            f"{server} does not answer as a wheelyard server of this version (status {status}). "
            "Give the root URL of one, past any login page. A static site cannot be asked: ask the "
            "store that it is made from.",
            code="no_index",
        )
