"""
The hosts that the files of an upstream index are on, where the settings do not name them.

They are the hosts on one page, and stay for as long as the process runs. That is the page of a
project that nearly every index has, and that says nothing about who asks: one small answer. The
list of all projects may have tens of megabytes, and has no link to a file. An index without that
project is asked for the start of its list, and for some projects in it.

A server reads that page at its start, hands the hosts to all of its workers, and prints them. If
the index does not answer then, each worker reads the same page before the first page that a client
wants, so that all of them have the same hosts whatever they are asked for.

Which hosts a page names decides nothing about their addresses: private ones stay refused.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import Url, parse_url
from wheelyard.sources.simple_page import FetchedPage
from wheelyard.upstream.page import UpstreamPage
from wheelyard.upstream.parsing import first_projects, parse_page, why_no_index
from wheelyard.upstream.upstream_client import COMMON_PROJECT, UpstreamClient

MAX_PROJECTS: Final = 5
"""Projects of the list that are asked for."""
MAX_HOSTS: Final = 20
"""Hosts of files that are taken from a page. If there are more, the settings have to name them."""


class FoundHosts(Struct, frozen=True):
    """The hosts of files, and the project whose page names them."""

    project: NormalizedName
    """The project whose page was read."""
    hosts: tuple[str, ...]
    """The hosts besides the index's own, each as `host` or `host:port`, sorted."""

    def sentence(self, place: str) -> str:
        """
        Return what was found, and the line of the settings that says the same.

        `place` is the URL of the index.
        """
        hosts = ", ".join(self.hosts) or "its own host"
        return (
            f"the files of {place} are on {hosts}, as the page of {self.project} says: fixed for "
            f"this run. With this line below [upstream], beside its url, no start asks: "
            f"file_hosts = {json.dumps(self.hosts)}"
        )


def find_file_hosts(client: UpstreamClient, now: datetime) -> FoundHosts | None:
    """
    Return the hosts of files of an index, or None if no page that was asked for has a file.

    No private name is asked for, and no name that the settings exclude. Raises FetchError if the
    index does not answer, or its answer is not that of an index. Raises FetchError if the files of
    a page are on too many hosts, or one of these has a private address that is not allowed.
    """
    for name in _candidates(client):
        if not client.may_ask_for(name):
            continue
        try:
            page = _read_page(client, name, now)
        except FetchError as fault:
            if not fault.is_denied:
                raise
            continue  # the index may not refuse the page of another project
        if page is None or not page.files:
            continue
        urls = _urls_on_other_hosts(client, page)
        hosts = {url.authority for url in urls}
        # a stranger's page names the hosts, and requests go there from the operator's network
        if len(hosts) > MAX_HOSTS:
            why = f"the files of {name} are on more than {MAX_HOSTS} hosts"
            raise FetchError(f"{why}. Name those that are meant in upstream.file_hosts")
        for url in urls:
            client.require_address(url)
        return FoundHosts(name, tuple(sorted(hosts)))
    return None


def _candidates(client: UpstreamClient) -> Iterator[NormalizedName]:
    """
    Yield the projects whose page may name hosts of files.

    Raises FetchError if the index does not answer, or its root does not show an index.
    """
    yield COMMON_PROJECT
    allow = client.server.names.allow
    if allow is not None:
        for text in allow.texts[:MAX_PROJECTS]:
            is_name = not set(text) & set("*?")
            if is_name:
                yield NormalizedName(text)
    # last, as the list of an index may have tens of megabytes: its start is read
    root = client.root()
    why = why_no_index(root)
    if why:
        raise FetchError(why)
    listed_projects = [name for name in first_projects(root) if client.may_ask_for(name)]
    yield from listed_projects[:MAX_PROJECTS]


def _read_page(client: UpstreamClient, name: NormalizedName, now: datetime) -> UpstreamPage | None:
    """Return the page of a project, or None if the index has no such project."""
    with client.page(name) as received:
        if not isinstance(received, FetchedPage):
            return None
        return parse_page(received, name, client.server, now)


def _urls_on_other_hosts(client: UpstreamClient, page: UpstreamPage) -> list[Url]:
    """Return the URL of one file for each origin of files that is not the index's own."""
    urls = dict[tuple[str, str, int], Url]()
    for file in page.files:
        url = parse_url(file.url)
        urls[url.origin] = url
    return [url for url in urls.values() if not client.server.is_own(url)]
