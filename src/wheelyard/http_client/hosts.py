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
IPV4_BITS: Final = 0xFFFFFFFF
"""The part of a NAT64 address that is an address of IPv4."""
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

    why: str  # the reason in a few words, without URL, header or body
    status: int = 0  # the HTTP status; 0 without a response
    is_transient: bool = False  # whether a retry may succeed
    is_late: bool = False  # whether the time limit was over before the response came
    is_unreachable: bool = False  # whether there is no server at that address at all
    wait: float = 0.0  # seconds to wait before a retry, from the Retry-After header
    is_refused: bool = False  # whether this client must not send a request to that URL
    is_asked: bool = True  # whether a request was sent, or tried
    is_busy: bool = False  # whether too much waits for the host already
    is_denied: bool = False  # whether the host answers other requests, and refuses this one


def is_public(address: Address) -> bool:
    """
    Return whether an address is public.

    Of a NAT64 or mapped address, the IPv4 address in it counts.
    """
    address = _inner_address(address)
    if isinstance(address, IPv4Address):
        return not _is_in_any(address, NON_PUBLIC_V4)
    is_global_unicast = address in GLOBAL_UNICAST_V6
    return is_global_unicast and not _is_in_any(address, NON_PUBLIC_V6)


def is_link_local(address: Address) -> bool:
    """Return whether an address is link-local: no router passes packets to it on."""
    return _inner_address(address).is_link_local


def every_address(_address: Address) -> bool:
    """Return True, for a host that the caller of a command has named."""
    return True


class PublicOr(Struct, frozen=True):
    """
    Tells whether an address is public or in one of the `networks`.

    An address of a cloud's metadata server is never allowed. With `only_loopback`, no address of
    another machine is allowed.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    only_loopback: bool = False

    def __call__(self, address: Address) -> bool:
        """Return whether the address may be connected to."""
        # as it is: a connection to a NAT64 address leaves this machine, whatever address is in it
        if self.only_loopback and not address.is_loopback:
            return False
        address = _inner_address(address)
        if address in METADATA_ADDRESSES:
            return False
        return is_public(address) or _is_in_any(address, self.networks)


def _is_in_any(address: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Return whether an address is in one of some networks."""
    return any(address in network for network in networks)


def _inner_address(address: Address) -> Address:
    """Return the IPv4 address that an address of IPv6 leads to, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:  # how a machine without IPv4 reaches the rest of the internet
        return IPv4Address(int(address) & IPV4_BITS)
    # without its zone, which would make it unequal to the same address in a list
    return address.ipv4_mapped or IPv6Address(int(address))


def resolve(host: str, port: int) -> list[str]:
    """
    Return the addresses of a host.

    It may block. Raises OSError or UnicodeError if the host has no address.
    """
    socket_addresses = [entry[4] for entry in getaddrinfo(host, port, proto=IPPROTO_TCP)]
    return [str(socket_address[0]) for socket_address in socket_addresses]


@dataclass(slots=True)
class AddressPolicy:
    """
    Decides which addresses a client may connect to.

    Threads may share the policy. A host that the operator has named may have any address. Once such
    a host has had an allowed address, others are refused: it is no machine of this network, and the
    owner of its name must not be able to change that later (DNS rebinding).
    """

    named_hosts: Iterable[str] = ()  # hosts that the operator has named
    is_allowed: Callable[[Address], bool] = is_public  # for addresses of other hosts
    refusal: str = "its host {host} has a private address, which is not allowed"
    """The reason of a FetchError, with `{host}` and `{address}` in the places of these."""
    resolve: Callable[[str, int], list[str]] = resolve
    _exempt_hosts: set[str] = dataclasses.field(init=False)
    """The named hosts that have not had an allowed address yet."""

    def __post_init__(self) -> None:
        self._exempt_hosts = {_comparable_host(host) for host in self.named_hosts}

    def allowed_addresses(self, host: str, resolved: Iterable[str]) -> list[str]:
        """
        Return those of the `resolved` addresses of a host that are allowed.

        Return all addresses of a named host that has never had an allowed one. Raises FetchError if
        no address is allowed.
        """
        host = _comparable_host(host)
        addresses = list(resolved)
        allowed = [address for address in addresses if self.is_allowed(ip_address(address))]
        if allowed:
            # for good: the owner of the name could have it lead into this network later
            self._exempt_hosts.discard(host)
        elif host in self._exempt_hosts:
            allowed = addresses
        if not allowed:
            why = self.refusal.format(host=host, address=", ".join(addresses))
            raise FetchError(why, is_refused=True)
        return allowed

    def addresses_of(self, host: str, port: int) -> list[str]:
        """
        Return the allowed addresses that a host has now.

        It may block. Raises OSError or UnicodeError if the host has no address, and FetchError if
        it has none that is allowed.
        """
        resolved = self.resolve(_comparable_host(host), port)
        return self.allowed_addresses(host, resolved)


def _comparable_host(host: str) -> str:
    """Return a host for comparisons: without brackets or a dot at its end, in lower case."""
    return host.strip("[]").removesuffix(".").lower()


class NetworkDeadline(local):
    """
    When each thread stops waiting for the network.

    Each thread has attributes of its own: this is a `threading.local`.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._ends_at: float | None = None
        """On the monotonic clock, or None if this thread has no deadline."""

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """End this thread's network calls in this block after `seconds`, or with an outer block."""
        outer_ends_at = self._ends_at
        ends_at = self._runtime.monotonic() + seconds
        if outer_ends_at is not None:
            ends_at = min(ends_at, outer_ends_at)
        self._ends_at = ends_at
        try:
            yield
        finally:
            self._ends_at = outer_ends_at

    def remaining_seconds(self, timeout: float | None) -> float | None:
        """
        Return `timeout` or the time to this thread's deadline, whichever is less.

        Return None without a timeout and a deadline. Raises ReadTimeout if the deadline has passed.
        """
        if self._ends_at is None:
            return timeout
        seconds = self._ends_at - self._runtime.monotonic()
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
        ConnectTimeout of httpcore2 if no address accepts a connection, or after `close`. Raises
        ConnectTimeout or ReadTimeout if the deadline of this thread passes.
        """
        connect_error: Exception = httpcore2.ConnectError()
        resolved = self._resolve_in_thread(host, port)
        # the addresses that were checked are connected to: the name is not looked up again
        for address in self._policy.allowed_addresses(host, resolved):
            seconds = self._deadline.remaining_seconds(timeout)
            try:
                stream = self._sockets.connect_tcp(
                    address, port, seconds, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                connect_error = error
            else:
                if not self._is_closed:
                    return _TimedStream(stream, self._deadline)
                stream.close()  # the pool of connections was closed meanwhile
        raise connect_error

    def _resolve_in_thread(self, host: str, port: int) -> list[str]:
        """
        Return the addresses of a host.

        Raises FetchError if the host has none, and ConnectTimeout or ReadTimeout if the deadline of
        this thread passes.
        """
        # nobody can interrupt a name lookup; in a thread of its own, it can be left behind
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
    The circuit breaker of one host: it decides by the host's answers whether requests are sent.

    Threads may share the circuit. After `FAILURES` failures the circuit is open: no request is sent
    for `OPEN_SECONDS`, then a single one.
    """

    monotonic: Callable[[], float]
    on_change: Callable[..., None]
    """Called with `is_open`: True when no more requests are sent, False when the host answers."""
    _failures: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=FAILURES))
    """
    When each of the last requests failed, and the URL that alone may be to blame.

    The URL is empty if the host itself is to blame.
    """
    _tested_at: float = 0.0
    """When the next request may be sent while the circuit is open."""
    _paused_until: float = 0.0
    """Until when the host wants no request. Answers to earlier requests do not change that."""
    _answered_at: float = -inf
    """When the host has answered last, and not with an error of its own."""
    _is_open: bool = False
    _why: str = ""
    """Why the last request failed."""
    _lock: Lock = field(default_factory=Lock)

    def check(self) -> None:
        """
        Allow one request, and while the circuit is open no other for `OPEN_SECONDS`.

        Raises FetchError if no request may be sent now.
        """
        with self._lock:
            now = self.monotonic()
            self._require_no_pause(now)
            if self._is_open:  # all other requests wait for the outcome of this one
                self._tested_at = now + OPEN_SECONDS

    def require_no_pause(self) -> None:
        """Raise FetchError if no request may be sent now, without allowing one as `check` does."""
        with self._lock:
            self._require_no_pause(self.monotonic())

    def _require_no_pause(self, now: float) -> None:
        """Raise FetchError if no request may be sent now. The caller holds the lock."""
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

        `url` is the URL of a request if that alone may be to blame: the host has answered with an
        error of its own, or not in time. It is empty if the host itself is to blame. Errors for one
        URL count once: one broken file does not stop all requests to the host. An error for a URL
        does not count if the host has answered another request since `began_at`: one slow page is
        no outage. `on_change` is called if this opens the circuit.
        """
        with self._lock:
            if url and self._answered_at >= began_at:
                return
            now = self.monotonic()
            self._why = why
            failed_urls = {failed_url for _, failed_url in self._failures}
            if not url or url not in failed_urls:
                self._failures.append((now, url))
            has_enough_failures = len(self._failures) == FAILURES
            first_failed_at, _ = self._failures[0]
            are_recent = now - first_failed_at <= FAILURE_SECONDS
            is_opened = has_enough_failures and are_recent and not self._is_open
            if is_opened:
                self._is_open = True
            if self._is_open:
                self._tested_at = now + OPEN_SECONDS
            if is_opened and url:
                # where single URLs alone may be to blame, the next request tests the host at once
                self._tested_at = now

        # not under the lock: this calls code of others
        if is_opened:
            self.on_change(is_open=True)

    def pause(self, seconds: float) -> None:
        """Send no request for so many seconds, at most `MAX_PAUSE_SECONDS`, as the host asked."""
        with self._lock:
            pause_ends_at = self.monotonic() + min(seconds, MAX_PAUSE_SECONDS)
            self._paused_until = max(self._paused_until, pause_ends_at)
