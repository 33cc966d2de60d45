"""
Processor time of pages of an index that is made of others, beside the same pages of a plain one.

All are answered by one server. They take turns, round by round.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.client_headers import PIP, UNREMEMBERED
from benchmarks.load import answer_of, page_rate, upload_all
from benchmarks.processes import microseconds_each
from benchmarks.report import Figure, in_turn
from benchmarks.servers import Server, new_token, printed_by, wheelyard
from benchmarks.stores import wheels
from tests.index_tables import put_tables_at

ROUNDS = 9
SECONDS = 1
CONNECTIONS = 16
UNREMEMBERED_CONNECTIONS = 1
"""
Threads of the server make these pages. Beside each other they mostly measure how Python's threads
hand over at each system call.
"""
PLAIN = "/plain"
TEAM = "/team"
PAGE = "/simple/asked/"
TABLES = """
[main]
promote_only = false
[[index]]
name = "plain"
read = "anyone"
[[index]]
name = "team"
layers = ["team", "main"]
read = "anyone"
[[index]]
name = "stable"
layers = ["main"]
read = "anyone"
prereleases = false
versions = { "*" = "!=0" }
"""
MADE_OF_OTHERS = {"two layers": TEAM, "a view": "/stable"}


def measure(folder: Path) -> list[Figure]:
    """Measure pages of an index of two layers, and of a view, beside the same pages of one."""
    store = folder / "store"
    token = new_token(store, printed_by(folder))
    put_tables_at(store, TABLES)
    with wheelyard(store, "/simple/", authorization=token) as server:
        forms = [wheel.form() for wheel in wheels("asked", 10)]
        upload_all(server, forms)
        upload_all(_at(server, PLAIN), forms)
        # no index without packages of its own needs layers
        upload_all(_at(server, TEAM), [wheel.form() for wheel in wheels("other", 1)])
        return [
            _figure(f"processor time of {what}, {name}", server, prefix, more, connections)
            for name, prefix in MADE_OF_OTHERS.items()
            for what, more, connections in (
                ("a remembered page", {}, CONNECTIONS),
                ("a remembered 304", {"If-None-Match": ""}, CONNECTIONS),
                ("a page that is not to be remembered", UNREMEMBERED, UNREMEMBERED_CONNECTIONS),
            )
        ]


def _at(server: Server, prefix: str) -> Server:
    """Return a server that takes uploads to the index below `prefix`."""
    return replace(server, upload_path=f"{prefix}/legacy/")


def _figure(
    name: str, server: Server, prefix: str, more: dict[str, str], connections: int
) -> Figure:
    ours, theirs = in_turn(
        ROUNDS,
        _cost(server, f"{prefix}{PAGE}", more, connections),
        _cost(server, PLAIN + PAGE, more, connections),
        warm=1,
    )
    return Figure(
        name=name, unit="us", ours=ours, theirs=theirs, versus="plain index", target="<= 1.15x"
    )


def _cost(
    server: Server, path: str, more: dict[str, str], connections: int
) -> Callable[[int], float]:
    headers = PIP | {"Authorization": server.authorization} | more
    if "If-None-Match" in more:
        headers["If-None-Match"] = answer_of(server, path, PIP | headers)[0]["ETag"]

    def rate() -> float:
        return page_rate(server, path, headers, connections=connections, seconds=SECONDS)

    return lambda _: microseconds_each(server, rate, SECONDS)
