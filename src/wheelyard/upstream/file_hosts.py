"""
The hosts that the files of an upstream index are on, where the settings do not name them.

They are those of the first page with files that the process reads, and stay for as long as it runs.
A server reads such a page at its start, so that all of its workers have the same hosts, and prints
them. That is the page of a project that nearly every index has, and that says nothing about who
asks: one small answer. The list of all projects may have tens of megabytes, and no link to a file.
An index without that project is asked for the start of its list, and for some projects in it.

Which hosts a page names decides nothing about their addresses: private ones stay refused.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import parse_url
from wheelyard.model.access import NamePatterns
from wheelyard.sources.simple_page import FetchedPage
from wheelyard.upstream.client import UpstreamClient
from wheelyard.upstream.page import UpstreamPage
from wheelyard.upstream.parsing import first_projects, parse_page, why_no_index

COMMON_PROJECT: Final = NormalizedName("pip")
"""Nearly every index has it, and its page is small."""
MAX_PROJECTS: Final = 5
"""Projects of the list that are asked for."""
MAX_HOSTS: Final = 20


class FoundHosts(Struct, frozen=True):
    """The hosts of files, and what says so."""

    project: NormalizedName
    """The project whose page was read."""
    hosts: tuple[str, ...]
    """Those besides the index's own, each as `host` or `host:port`, sorted."""


def learn_file_hosts(client: UpstreamClient, page: UpstreamPage) -> None:
    """
    Set the hosts of files of an index to those of a page, unless they are set already.

    Threads that do it at the same time set those of one of their pages.
    """
    if client.server.file_hosts is None and page.files:
        client.set_file_hosts(_hosts_of(client, page)[:MAX_HOSTS])


def find_file_hosts(
    client: UpstreamClient, private: NamePatterns, now: datetime
) -> FoundHosts | None:
    """
    Return the hosts of files of an index, or None if no page that was asked for has a file.

    No name is asked for that `private` matches, or that the settings do not want to ask for. Raises
    FetchError if the index does not answer, or with what is none, or if a host of its files has a
    private address that is not allowed.
    """
    for name in _candidates(client):
        if private.match(name) or not client.server.names.accepts(name):
            continue
        page = _read(client, name, now)
        if page is not None and page.files:
            hosts = _hosts_of(client, page)
            if len(hosts) > MAX_HOSTS:
                raise FetchError(f"the files of {name} are on more than {MAX_HOSTS} hosts")
            for host in hosts:
                client.require_address(parse_url(f"{client.server.url.scheme}://{host}/"))
            return FoundHosts(name, hosts)
    return None


def _candidates(client: UpstreamClient) -> Iterator[NormalizedName]:
    """
    Yield the projects that may be asked for.

    Raises FetchError if the index does not answer, or its root does not show that it is one.
    """
    yield COMMON_PROJECT
    names = client.server.names
    for text in names.allow.texts[:MAX_PROJECTS] if names.allow is not None else ():
        if not set(text) & set("*?"):
            yield NormalizedName(text)
    root = client.root()
    why = why_no_index(root)
    if why:
        raise FetchError(why)
    yield from islice(filter(names.accepts, first_projects(root)), MAX_PROJECTS)


def _read(client: UpstreamClient, name: NormalizedName, now: datetime) -> UpstreamPage | None:
    """Return the page of a project, or None if the index has no such project."""
    with client.page(name) as received:
        if not isinstance(received, FetchedPage):
            return None
        return parse_page(received, name, client.server, now)


def _hosts_of(client: UpstreamClient, page: UpstreamPage) -> tuple[str, ...]:
    urls = (parse_url(file.url) for file in page.files)
    return tuple(sorted({url.authority for url in urls if not client.server.is_own(url)}))
