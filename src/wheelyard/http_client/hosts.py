"""
Which hosts are asked: the addresses that are allowed, and the circuit breaker of each host.

Only public addresses, and hosts that the operator has named, may be connected to. The text of a URL
does not show its address: 2130706433 is an address, too, and the owner of a name can change its
address at any time. So a name is resolved once, the addresses found are checked, and the connection
goes to one of the allowed addresses. The Host header and TLS still use the name.
"""

import dataclasses
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from math import ceil, inf
from socket import IPPROTO_TCP, getaddrinfo
from threading import Lock, local
from typing import Final

import httpcore2
from msgspec import Struct, field

from wheelyard.concurrency.runtime import Runtime

Address = IPv4Address | IPv6Address

NON_PUBLIC_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by the customers of a provider; Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform: public by its number alone
        "169.254.0.0/16",  # link-local; the metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
"""Networks that are not public. Python's own list differs from release to release."""
GLOBAL_UNICAST_V6: Final = IPv6Network("2000::/3")
"""All public IPv6 addresses: loopback, link-local, unique-local and multicast are outside."""
NON_PUBLIC_V6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments; Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an address of IPv4 is inside
        "3fff::/20",  # documentation
    )
)
NAT64: Final = IPv6Network("64:ff9b::/96")
METADATA_ADDRESSES: Final = frozenset(
    ip_address(address)
    for address in (
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure's platform
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # containers of Amazon
        "169.254.170.23",  # ditto, of its Kubernetes
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # Amazon
        "fd00:ec2::23",  # its Kubernetes
        "fd20:ce::254",  # Google
    )
)
"""Servers that give credentials of the machine to whoever asks."""
RESOLVER_THREADS: Final = 4
"""Concurrent name lookups: a name server that does not answer blocks no more threads."""
FAILURES: Final = 5
"""Requests without an answer, within `FAILURE_SECONDS`, after which no more are sent."""
FAILURE_SECONDS: Final = 30.0
OPEN_SECONDS: Final = 30.0
"""Seconds without a request, after which one request tests whether the host answers again."""
MAX_PAUSE_SECONDS: Final = 300.0
"""Longest pause, in seconds, that a host can ask for by Retry-After."""


@dataclass(eq=False)
class FetchError(Exception):
    """A request has no response, or one that cannot be used."""

    why: str  # in a few words, without URL, header or body
    status: int = 0  # the HTTP status; 0 if there was none
    is_transient: bool = False  # whether a retry may succeed
    is_late: bool = False  # whether it was waited for until a time limit
    is_unreachable: bool = False  # whether there is no server at that address at all
    wait: float = 0.0  # seconds to wait before a retry, from the Retry-After header
    is_refused: bool = False  # whether this client must not go where it leads
    is_asked: bool = True  # whether a request was sent, or tried
    is_busy: bool = False  # whether too much waits for it already
    is_denied: bool = False  # whether it answers others, and refuses this request


def is_public(address: Address) -> bool:
    """
    Return whether an address is public.

    Of a NAT64 or mapped address, the IPv4 address in it counts.
    """
    address = _inner(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NON_PUBLIC_V4)
    is_unicast = address in GLOBAL_UNICAST_V6
    return is_unicast and not any(address in network for network in NON_PUBLIC_V6)


def is_link_local(address: Address) -> bool:
    """Return whether an address is one of those that routers do not pass on."""
    return _inner(address).is_link_local


def every_address(_address: Address) -> bool:
    """Return True, for a host that the caller of a command has named."""
    return True


class PublicOr(Struct, frozen=True):
    """
    Tells whether an address is public or in one of the `networks`.

    An address that gives a cloud's metadata is never allowed. With `only_loopback`, an address has
    to be that of this machine, too.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    only_loopback: bool = False

    def __call__(self, address: Address) -> bool:
        """Return whether the address may be connected to."""
        if self.only_loopback and not address.is_loopback:  # that of NAT64 leaves this machine
            return False
        address = _inner(address)
        if address in METADATA_ADDRESSES:
            return False
        return is_public(address) or any(address in network for network in self.networks)


def _inner(address: Address) -> Address:
    """Return the IPv4 address that an address of IPv6 leads to, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:  # how a machine without IPv4 reaches the rest of the internet
        return IPv4Address(int(address) & 0xFFFFFFFF)
    # without its zone, which would make it unequal to the same address in a list
    return address.ipv4_mapped or IPv6Address(int(address))


def resolve(host: str, port: int) -> list[str]:
    """
    Return the addresses of a host.

    It may block. Raises OSError or UnicodeError if there is none.
    """
    return [str(entry[4][0]) for entry in getaddrinfo(host, port, proto=IPPROTO_TCP)]


@dataclass(slots=True)
class AddressPolicy:
    """
    Decides which addresses a client may connect to.

    Threads may share it. A host that the operator has named may have any address. Once it has had a
    public address, private ones are refused: it is no machine of this network, and the owner of its
    name must not be able to change that later (DNS rebinding).
    """

    named_hosts: Iterable[str] = ()  # hosts that the operator has named
    is_allowed: Callable[[Address], bool] = is_public  # for addresses of other hosts
    refusal: str = "its host {host} has a private address, which is not allowed"
    """The reason for a FetchError, in which `{host}` and `{address}` stand for these."""
    resolve: Callable[[str, int], list[str]] = resolve
    _exempt: set[str] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self._exempt = {_bare(host) for host in self.named_hosts}

    def allowed_addresses(self, host: str, resolved: Iterable[str]) -> list[str]:
        """
        Return those of the `resolved` addresses of a host that are allowed.

        For a named host without an allowed address, return all. An allowed one ends this exemption.
        Raises FetchError if no address is allowed.
        """
        addresses = list(resolved)
        allowed = [address for address in addresses if self.is_allowed(ip_address(address))]
        if allowed:
            # for good: the owner of the name could have it lead into this network later
            self._exempt.discard(_bare(host))
        elif _bare(host) in self._exempt:
            allowed = addresses
        if not allowed:
            why = self.refusal.format(host=_bare(host), address=", ".join(addresses))
            raise FetchError(why, is_refused=True)
        return allowed

    def addresses_of(self, host: str, port: int) -> list[str]:
        """
        Return the allowed addresses that a host has now.

        It may block. Raises OSError or UnicodeError if the host has no address, and FetchError if
        it has none that is allowed.
        """
        return self.allowed_addresses(host, self.resolve(_bare(host), port))


def _bare(host: str) -> str:
    """Return a host for comparisons: without brackets or a dot at its end, in lower case."""
    return host.strip("[]").removesuffix(".").lower()


class NetworkDeadline(local):
    """
    When each thread stops waiting for the network.

    Each thread sees its own attributes: this is a `threading.local`.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._end: float | None = None

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """End this thread's network calls in this block after `seconds`, or with an outer block."""
        outer_end = self._end
        end = self._runtime.monotonic() + seconds
        if outer_end is not None:
            end = min(end, outer_end)
        self._end = end
        try:
            yield
        finally:
            self._end = outer_end

    def remaining_seconds(self, timeout: float | None) -> float | None:
        """
        Return `timeout` or the time to this thread's deadline, whichever is less.

        Return None if there is neither. Raises ReadTimeout if the deadline has passed.
        """
        if self._end is None:
            return timeout
        seconds = self._end - self._runtime.monotonic()
        if seconds <= 0:
            raise httpcore2.ReadTimeout
        if timeout is not None:
            seconds = min(seconds, timeout)
        return seconds


class CheckedNetworkBackend(httpcore2.NetworkBackend):
    """Network backend of httpcore2 that connects to allowed addresses, within deadlines."""

    def __init__(self, policy: AddressPolicy, deadline: NetworkDeadline) -> None:
        self._policy = policy
        self._deadline = deadline
        self._resolvers = ThreadPoolExecutor(RESOLVER_THREADS, "resolver")
        self._sockets = httpcore2.SyncBackend()
        self._is_closed = False

    def close(self) -> None:
        """Make no more connections, and stop the threads that look up names, without waiting."""
        self._is_closed = True
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """
        Resolve `host`, and return a connection to the first allowed address that accepts one.

        Raises FetchError if the name is unknown or no address is allowed. Raises ConnectError or
        ConnectTimeout of httpcore2 if no address accepts one, or after `close`. Raises
        ConnectTimeout or ReadTimeout if the deadline of this thread passes.
        """
        fault: Exception = httpcore2.ConnectError()
        resolved = self._resolve_in_thread(host, port)
        # the addresses that were checked are connected to: the name is not looked up again
        for address in self._policy.allowed_addresses(host, resolved):
            seconds = self._deadline.remaining_seconds(timeout)
            try:
                stream = self._sockets.connect_tcp(
                    address, port, seconds, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                fault = error
            else:
                if not self._is_closed:
                    return _TimedStream(stream, self._deadline)
                stream.close()  # the pool of connections was closed meanwhile
        raise fault

    def _resolve_in_thread(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, or raise FetchError if it has none."""
        # a name lookup cannot be interrupted; in a thread of its own, it can be left behind
        lookup = self._resolvers.submit(self._policy.resolve, host, port)
        try:
            return lookup.result(self._deadline.remaining_seconds(None))
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        except OSError as error:
            why = "its name is not known"
            raise FetchError(why, is_transient=True, is_unreachable=True) from error
        except UnicodeError as error:
            raise FetchError("its name is not known") from error


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose operations end at the deadline of the thread that uses it."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: NetworkDeadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return up to `max_bytes` bytes that were received, none at the end."""
        return self._stream.read(max_bytes, self._deadline.remaining_seconds(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send the whole `buffer` over the connection."""
        self._stream.write(buffer, self._deadline.remaining_seconds(timeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        """Start TLS, and return the encrypted connection, which keeps the deadlines, too."""
        seconds = self._deadline.remaining_seconds(timeout)
        stream = self._stream.start_tls(ssl_context, server_hostname, seconds)
        return _TimedStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> object:
        """Return the property `info` of the connection, such as its socket."""
        return self._stream.get_extra_info(info)


class Circuit(Struct):
    """
    What is known of one host's answers.

    Threads may share it. After `FAILURES` failures it is open: no request is sent for
    `OPEN_SECONDS`, then a single one.
    """

    monotonic: Callable[[], float]
    on_change: Callable[..., None]
    """Called with `is_open`: True when no more requests are sent, False when the host answers."""
    _failures: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=FAILURES))
    """When a request failed, and the URL that alone may be to blame, or an empty text."""
    _tested_at: float = 0.0
    """When the next request may be sent while the circuit is open."""
    _paused_until: float = 0.0
    """Until when the host wants no request. The answers to earlier ones do not change that."""
    _answered_at: float = -inf
    """When it has answered last, and not with an error of its own."""
    _is_open: bool = False
    _why: str = ""
    """Why the last request failed."""
    _lock: Lock = field(default_factory=Lock)

    def check(self) -> None:
        """
        Allow one request, and while the circuit is open no other for `OPEN_SECONDS`.

        Raises FetchError if none may be sent now.
        """
        with self._lock:
            now = self.monotonic()
            self._require_no_pause(now)
            if self._is_open:  # the others wait for what becomes of this request
                self._tested_at = now + OPEN_SECONDS

    def require_no_pause(self) -> None:
        """Raise FetchError if no request may be sent now, and allow none."""
        with self._lock:
            self._require_no_pause(self.monotonic())

    def _require_no_pause(self, now: float) -> None:
        pause = self._paused_until - now
        if pause > 0:
            why = f"it wants no request for {ceil(pause)} seconds"
            raise FetchError(why, is_transient=True, wait=pause, is_asked=False)
        wait = self._tested_at - now
        if self._is_open and wait > 0:
            why = f"{self._why}, so that it is asked again in {ceil(wait)} seconds"
            raise FetchError(why, is_transient=True, wait=wait, is_asked=False)

    def record_answer(self) -> None:
        """
        Note that the host has answered, and close the circuit.

        A pause that the host has asked for stays. `on_change` is called if the circuit was open.
        """
        with self._lock:
            self._failures.clear()
            self._answered_at = self.monotonic()
            was_open = self._is_open
            self._is_open = False
        # not under the lock: this calls code of others
        if was_open:
            self.on_change(is_open=False)

    def record_failure(self, why: str, url: str = "", began_at: float = inf) -> None:
        """
        Note why the host has not answered, and open the circuit if that was too often.

        `url` is that of a request which alone may be to blame: the host has answered with an error
        of its own, or not in time. It is empty if the host itself is to blame. Errors for the same
        URL count once: one broken file does not close the whole host. An error for a URL does not
        count if the host has answered another request since `began_at`: one slow page is no outage.
        `on_change` is called if this opens the circuit.
        """
        with self._lock:
            if url and self._answered_at >= began_at:
                return
            now = self.monotonic()
            self._why = why
            failed_urls = {failed_url for _, failed_url in self._failures}
            if not url or url not in failed_urls:
                self._failures.append((now, url))
            has_many = len(self._failures) == FAILURES
            first_failed_at, _ = self._failures[0]
            is_recent = now - first_failed_at <= FAILURE_SECONDS
            is_opened = has_many and is_recent and not self._is_open
            if is_opened:
                self._is_open = True
            if self._is_open:
                self._tested_at = now + OPEN_SECONDS
            if is_opened and url:
                # where only these URLs may be to blame, the next one tests it at once
                self._tested_at = now

        # not under the lock: this calls code of others
        if is_opened:
            self.on_change(is_open=True)

    def pause(self, seconds: float) -> None:
        """Send no request for so many seconds, at most `MAX_PAUSE_SECONDS`, as the host asked."""
        with self._lock:
            until = self.monotonic() + min(seconds, MAX_PAUSE_SECONDS)
            self._paused_until = max(self._paused_until, until)
