"""Checks of the clients' settings: which index each one asks, and which file says so."""

from collections.abc import Iterable, Iterator
from shutil import which
from typing import Final

from wheelyard.doctor.client_settings import FoundSettings, Value
from wheelyard.doctor.findings import Finding, ok, shown, warning
from wheelyard.http_client.urls import Url

INDEX_KEYS: Final = {"pip": ("index-url",), "uv": ("default-index", "index")}
"""The settings of a client with an index that it asks, the most important one first."""
ALL_KEYS: Final = ("index-url", "default-index", "index", "extra-index-url")


def configured_indexes(clients: Iterable[FoundSettings]) -> list[Value]:
    """Return all index URLs of the clients, those that are used first."""
    return [
        value
        for client in clients
        for key in ALL_KEYS
        for value in reversed(client.values.get(key, ()))
    ]


def used_index(client: FoundSettings) -> Value | None:
    """Return the index URL that a client asks; None if it asks the public index."""
    return client.winner(*INDEX_KEYS[client.client])


def _index_at(client: FoundSettings, url: Url) -> Value | None:
    """Return which of uv's indexes, all of which it asks, is at the server of a URL."""
    found = reversed(client.values.get("index", ()))
    return next((each for each in found if each.url and each.url.origin == url.origin), None)


def check_client(client: FoundSettings, url: Url, path: str) -> Iterator[Finding]:
    """
    Say which index a client asks, by which file, and what is set besides that has no effect.

    A client without an index that is not on the `path` of programs is not used here.
    """
    name, index = client.client, _index_at(client, url) or used_index(client)
    for problem in client.problems:
        yield warning(name, problem, "Correct the file: the client stops, or ignores it.")
    if index is None and which(name, path=path) is not None:
        files = f" (read: {', '.join(client.files)})" if client.files else ""
        advice = f"wheelyard print-settings {name} prints the lines to add."
        yield warning(name, f"no index is set{files}, so that it asks the public one", advice)
    elif index is not None:
        yield _index_finding(client, index, url)
    extra = client.winner("extra-index-url")
    if extra is not None:
        text = f"extra-index-url in {extra.source}: pip takes the highest version of all indexes"
        yield warning(name, text, "docs/private-and-public.md says what to do instead.")
    if url.host in client.text("trusted-host").split():
        text = f"trusted-host in {client.values['trusted-host'][-1].source} names {url.host}"
        yield warning(name, f"{text}: its certificate is not verified", "Take it away.")
    if client.text("no-index") not in ("", "0", "false", "no", "off"):
        text = f"no-index in {client.values['no-index'][-1].source}: no index is asked at all"
        yield warning(name, text, "Take it away.")


def _index_finding(client: FoundSettings, index: Value, url: Url) -> Finding:
    name, found = client.client, index.url
    if found is None:
        text = f"the index in {index.source} is no URL"
        return warning(name, text, "Correct it: it begins with https:// and ends with /simple/.")
    secret = ", with a credential in it" if found.login else ""
    text = f"asks {shown(found)}{secret} ({index.source})"
    if found.origin != url.origin:
        return warning(name, text, f"That is not {url.authority}. Correct that file or variable.")
    key = next(key for key, values in client.values.items() if index in values)
    beaten = [each for each in client.values[key][:-1] if _place(each) != _place(index)]
    if beaten and key != "index":
        others = ", ".join(f"{_place(each)} ({each.source})" for each in beaten)
        return warning(name, text, f"Other values have no effect: {others}.")
    return ok(name, text)


def _place(value: Value) -> str:
    return shown(value.url) if value.url else "no URL"
