"""
The pages of an upstream index, made of what a stranger's page says: its root, and a project.

A link that cannot be used is left out and counted, and the first ones are named. What makes the
page as a whole unusable raises FetchError, and nothing else is ever raised. Of every file that is
returned, the filename is a distribution of the project, and the URL is one that the index may send
this one to.

Follows the simple repository API (PEPs 503 and 691). A list in JSON, or in HTML with the version of
the API, says itself what it is. Any other HTML page is one if it has nothing but links to folders
that are named as their text is. To be strict costs little: an index is also proven by a page of it.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from html import unescape
from itertools import starmap
from typing import Final
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, Struct
from packaging.utils import NormalizedName, canonicalize_name, is_normalized_name

from wheelyard.errors import Invalid
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import MAX_URL_LENGTH, BadUrl, Url, parse_url
from wheelyard.model.decoding import to_one_line
from wheelyard.model.distribution_filename import (
    ACCEPTED_FORMATS,
    FILENAME_LIMIT,
    SDIST_SUFFIX,
    VARIANTS_SUFFIX,
    ZIP_SUFFIX,
    Distribution,
    filename_readings,
    label_of,
    parse_filename,
    parse_version,
    strip_trailing_zeros,
    variants_filename,
)
from wheelyard.model.project import Status
from wheelyard.model.public_packages import UnusedLink
from wheelyard.sources.candidate import (
    is_distribution_name,
    parse_iso_date,
    sound_digests,
    version_in,
)
from wheelyard.sources.simple_page import (
    VERSION_TAG,
    FetchedPage,
    HtmlPage,
    PageEntry,
    read_page,
    read_simple_page,
)
from wheelyard.upstream.page import OtherFormat, UpstreamFile, UpstreamPage
from wheelyard.upstream.settings import UpstreamServer

MAX_FILES: Final = 100_000
"""Files of one project."""
TEXT_LIMIT: Final = 1024
"""Characters of a text, such as the reason of a yank. Longer ones are cut."""
MAX_SIZE: Final = 2**53
"""Bytes of a file. A larger number is none that every reader of JSON keeps."""
MAX_LOCATIONS: Final = 10
"""Alternate locations and refused hosts that are kept."""
MAX_OTHER_FORMATS: Final = 1000
"""Files in other formats that are kept."""
MAX_UNUSED_LINKS: Final = 100
"""Links that cannot be used and are named. All are counted."""
MAX_EMPTY_VERSIONS: Final = 10_000
"""Versions without files that are kept."""
SHOWN_SUFFIXES: Final = (".whl", SDIST_SUFFIX, ZIP_SUFFIX)
"""Suffixes of the formats that are shown."""
MAJOR: Final = 1
"""The major version of the Simple API that can be read (PEP 629)."""
ROOT_LIMIT_BYTES: Final = 64 * 1024
"""Bytes of a root that are read."""
MAX_CUTS: Final = 10
"""Ends of a JSON object at which a root that is not read whole is cut, in turn."""

ONE_PROJECT: Final = "its root is the page of one project; the name has to be left out of the url"
OTHER_PAGE: Final = "its root is a page of another kind; perhaps its url lacks /simple/ at the end"
NO_PROJECTS: Final = "its root lists no projects"

_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_API_VERSION: Final = re.compile(r"([0-9]{1,9})\.[0-9]{1,9}", re.ASCII)
_PLAIN_PATH: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.+!~%=-]+)+", re.ASCII)
_UPWARDS: Final = re.compile(r"(?:\.\./)+", re.ASCII)
_TAG: Final = re.compile(rb"<[a-z!]", re.IGNORECASE)
_INTERACTIVE: Final = re.compile(rb"<(?:form|input|script)\b", re.IGNORECASE)
"""Begins what a person has to fill in, or a browser to complete, such as a page to sign in with."""
_ANCHOR: Final = re.compile(r"<a\b[^<>]*+>([^<]*+)</a\s*>", re.IGNORECASE)
_OF_PROJECT: Final = re.compile(r"<title>\s*+links for\b", re.IGNORECASE)
"""The title that indexes give the page of one project, also to one without files."""
_ACTIVE: Final = re.compile(r"<(?:form|script)\b", re.IGNORECASE)
"""What no plain list of projects has."""


def parse_page(
    fetched: FetchedPage, name: NormalizedName, server: UpstreamServer, now: datetime
) -> UpstreamPage:
    """
    Return the page of a project of `server`, which has come at `now`.

    A link that cannot be used is left out, and counted. Raises FetchError if the page cannot be
    used. It has `is_refused` if none of the files may be fetched.
    """
    kind = fetched.content_type.partition(";")[0].lower()
    if "json" not in kind and "html" not in kind:
        raise FetchError("its page is neither JSON nor HTML")
    page = read_simple_page(fetched, MAX_FILES)

    # a page that says no version is of 1.0 (PEP 629)
    if page.version is not UNSET:
        _check_version(page.version)

    # a page in HTML says no name
    if page.name is not UNSET and not _is_name(page.name, name):
        raise FetchError("its page is that of another project")
    if page.files is None:
        raise FetchError("its page lists no files")
    files = _FileParser(name, page.base, server)
    has_links = False
    for entry in page.files:
        files.add(entry)
        has_links = True
    files.leave_out_single_variants()
    is_listing = files.has_distributions or page.version is not UNSET
    if page.is_html and not is_listing and not _is_empty(fetched.body, has_links=has_links):
        # a page to sign in with, or of an error, has no links to files either
        raise FetchError("its page has no links to files, and nothing that says what it is")
    by_filename = files.by_filename

    # shown as a page without files, it would look as if the project had none
    if files.refused and not by_filename:
        why = next(iter(files.refused.values()))
        raise FetchError(f"none of its files may be fetched: {why}", is_refused=True)
    return UpstreamPage(
        name=name,
        upstream=server.id,
        fetched_at=now,
        url=fetched.url.redacted,
        etag=fetched.etag,
        reading=server.reading,
        status=_status(page.status),
        reason=_text(page.reason),
        files=tuple(by_filename[filename] for filename in sorted(by_filename)),
        variants=tuple(files.variants[release] for release in sorted(files.variants)),
        other_formats=tuple(starmap(OtherFormat, sorted(files.other_formats.items()))),
        empty_versions=_empty_versions(page.versions, by_filename.values()),
        alternate_locations=_locations(page.locations),
        refused_hosts=tuple(files.refused),
        unused_links=tuple(files.unused),
        unused_link_count=files.unused_count,
    )


def _empty_versions(versions: object, files: Iterable[UpstreamFile]) -> tuple[str, ...]:
    """Return the versions of a list that have no file (PEP 700)."""
    if not isinstance(versions, list):
        return ()
    keys_with_files = {strip_trailing_zeros(file.version) for file in files}
    empty = dict[str, None]()
    for text in versions:
        if len(empty) >= MAX_EMPTY_VERSIONS:
            break
        # one that is written as its key is need not be parsed
        if not isinstance(text, str) or text in keys_with_files:
            continue
        with suppress(Invalid):
            version = str(parse_version(text))
            if strip_trailing_zeros(version) not in keys_with_files:
                empty[version] = None
    return tuple(empty)


def _is_empty(body: bytearray, *, has_links: bool) -> bool:
    """Return whether a page in HTML without links to files is that of a project without files."""
    if b"inks for " in body:  # the title that pip expected
        return True
    return not has_links and bool(_TAG.search(body)) and not _INTERACTIVE.search(body)


def _check_version(version: object) -> None:
    """
    Check that this module can read a page of a version of the Simple API.

    Raises FetchError if it cannot.
    """
    if isinstance(version, str):
        match = _API_VERSION.fullmatch(version)
        # a later minor version only adds to what is there (PEP 629)
        if match is not None and int(match[1]) <= MAJOR:
            return
    raise FetchError("its page is of a version of the Simple API that is not known here")


def _is_name(name: object, expected: NormalizedName) -> bool:
    """Return whether what a page says is its project is the one that was asked for."""
    return isinstance(name, str) and canonicalize_name(name) == expected


def check_final_url(url: Url, name: NormalizedName) -> None:
    """
    Check that a URL, after redirects, still ends with the name of the project.

    Raises FetchError if it does not.
    """
    path = url.path.removesuffix("index.html").rstrip("/")
    _, _, last_segment = path.rpartition("/")
    if not _is_name(last_segment, name):
        raise FetchError("it leads to the page of another project")


def _status(status: object) -> Status:
    """Return the status of a project (PEP 792), which is active unless a page says another one."""
    if isinstance(status, str):
        with suppress(ValueError):  # of a later version of the Simple API
            return Status(status)
    return Status.ACTIVE


def _text(text: object) -> str:
    """Return a text of a page on one line, cut at a limit, or an empty text if it is none."""
    if not isinstance(text, str):
        return ""
    # a huge text is cut before it is made one line, too
    return to_one_line(text[: 4 * TEXT_LIMIT], TEXT_LIMIT)


def _locations(locations: object) -> tuple[str, ...]:
    """Return the first alternate locations of a page (PEP 708), without passwords."""
    if not isinstance(locations, list):
        return ()
    urls = list[str]()
    for location in locations[:MAX_LOCATIONS]:
        if isinstance(location, str):
            with suppress(BadUrl):
                urls.append(parse_url(location).redacted[:TEXT_LIMIT])
    return tuple(urls)


class _Unusable(Exception):
    """A link cannot be used. Its text is the rest of a sentence that begins with the link."""


class _RefusedHost(_Unusable):
    """A link leads to a host that nothing may be fetched from."""

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"may not be fetched: {why}")
        self.host = host
        self.why = why


class _FileParser(Struct):
    """
    Collects the files of one page.

    Most of thousands of filenames have the same name, versions and tags, and most URLs the same
    host, so each of these is parsed once.
    """

    name: NormalizedName
    base: Url
    server: UpstreamServer
    has_distributions: bool = False
    """Whether there was a distribution, if only of another project."""
    by_filename: dict[str, UpstreamFile] = {}
    variants: dict[str, UpstreamFile] = {}
    """The documents about wheels with a label, by version without trailing zeros."""
    refused: dict[str, str] = {}
    """Some of the hosts that files may not be fetched from, and why."""
    other_formats: dict[str, str] = {}
    """The versions of some files in formats that are not shown, by filename."""
    unused: list[UnusedLink] = []
    """The first links that cannot be used."""
    unused_count: int = 0
    _names: dict[str, bool] = {}
    _versions: dict[str, str] = {}
    _tags: dict[str, bool] = {}
    _origins: set[str] = set()
    _folders: dict[str, str] = {}
    """The URL of a folder that files may be fetched from, by the `../` that lead to it."""

    def add(self, entry: PageEntry) -> None:
        """Add a file of a page, or count its link if it cannot be used."""
        try:
            self._add(entry)
        except _Unusable as error:
            if isinstance(error, _RefusedHost) and len(self.refused) < MAX_LOCATIONS:
                self.refused[error.host] = error.why
            self._count_unused(entry.filename, str(error))

    def _count_unused(self, filename: object, why: str) -> None:
        """Count a link that cannot be used, and remember the first ones with the reason."""
        self.unused_count += 1
        if len(self.unused) < MAX_UNUSED_LINKS:
            name = ""
            if isinstance(filename, str):
                name = to_one_line(filename[: 2 * FILENAME_LIMIT], FILENAME_LIMIT)
            self.unused.append(UnusedLink(name, to_one_line(why, TEXT_LIMIT)))

    def _add(self, entry: PageEntry) -> None:
        """
        Add a file of a page, or raise _Unusable.

        All that an entry says is a stranger's, and of any type: JSON is not validated before.
        """
        filename = entry.filename
        reference = entry.url
        if not isinstance(filename, str) or not isinstance(reference, str):
            raise _Unusable("has no filename, or no URL")
        if filename.endswith(VARIANTS_SUFFIX):
            self._add_variants(entry, filename, reference)
            return
        version = self._version(filename)
        if not version:
            self._leave_out(filename)
            return
        self.has_distributions = True
        digest, other_hashes = _digests(entry.hashes)
        if digest is None:
            raise _Unusable("has a malformed digest")
        requires_python = _requires_python(entry.requires_python)
        if requires_python is None:
            raise _Unusable("has a malformed requires-python")

        # the URL last, as a refused host is remembered: only for files that would be shown
        url = self._allowed_url(reference)

        # PEP 714: the member of PEP 658 was renamed, and counts where the new one is missing
        metadata = entry.core_metadata
        if metadata is None:
            metadata = entry.dist_info_metadata
        metadata_digest, other_metadata_hashes = _digests(metadata)
        yanked: str | None = None
        if entry.yanked:  # true, or a reason
            yanked = _text(entry.yanked)
        file = UpstreamFile(
            filename=filename,
            version=version,
            url=url,
            sha256=digest,
            other_hashes=other_hashes,
            size=_size(entry.size),
            uploaded_at=parse_iso_date(entry.upload_time),
            core_metadata=metadata_digest or "",
            other_metadata_hashes=other_metadata_hashes,
            # with a malformed digest nobody could verify it
            has_metadata=bool(metadata) and metadata_digest is not None,
            requires_python=requires_python or None,
            yanked=yanked,
            is_attested=isinstance(entry.provenance, str) and entry.provenance != "",
            provenance_url=self._provenance_url(entry.provenance),
        )

        # the first of two with a SHA-256 counts, else with another digest, or else the first
        before = self.by_filename.get(filename)
        if before is not None:
            self._count_unused(filename, "is listed twice")
        if before is None or _said_digests(file) > _said_digests(before):
            self.by_filename[filename] = file

    def _add_variants(self, entry: PageEntry, filename: str, reference: str) -> None:
        """Add the document about the wheels with a label of a release, or raise _Unusable."""
        name, _, version = filename.removesuffix(VARIANTS_SUFFIX).partition("-")
        if len(filename) > FILENAME_LIMIT or canonicalize_name(name) != self.name:
            raise _Unusable(f"is not about wheels of {self.name}, by its name")
        try:
            release = str(parse_version(version))
        except Invalid as error:
            raise _Unusable("has no version by PEP 440 in its name") from error
        digest, _ = _digests(entry.hashes)

        # it changes with the wheels, so that without a digest nobody knows which one is stored
        if not digest:
            raise _Unusable("has no SHA-256")
        document = UpstreamFile(
            filename=filename,
            version=release,
            url=self._allowed_url(reference),
            sha256=digest,
            size=_size(entry.size),
            uploaded_at=parse_iso_date(entry.upload_time),
        )
        self.variants.setdefault(strip_trailing_zeros(release), document)

    def leave_out_single_variants(self) -> None:
        """
        Leave out wheels with a label that no document is about, and documents about none.

        For when all files are added. Clients can use neither.
        """
        labelled = [file for file in self.by_filename.values() if label_of(file.filename)]
        releases = {strip_trailing_zeros(file.version) for file in labelled}
        for file in labelled:
            if strip_trailing_zeros(file.version) not in self.variants:
                del self.by_filename[file.filename]
                document = variants_filename(self.name, file.version)
                self._count_unused(file.filename, f"is a wheel variant without {document}")
        for release in self.variants.keys() - releases:
            document = self.variants.pop(release).filename
            self._count_unused(document, "is about wheel variants, and no wheel has a label")

    def _leave_out(self, filename: str) -> None:
        """Note a distribution of this project in a format that is not shown, or raise _Unusable."""
        is_distribution = is_distribution_name(filename)
        self.has_distributions |= is_distribution
        is_in_other_format = is_distribution and not filename.endswith(SHOWN_SUFFIXES)
        if is_in_other_format and len(filename) <= FILENAME_LIMIT:
            version = version_in(filename, self.name)
            if version and len(self.other_formats) < MAX_OTHER_FORMATS:
                self.other_formats[filename] = version
                return
            raise _Unusable(f"is in another format: wheelyard takes {ACCEPTED_FORMATS}")
        if len(self.unused) >= MAX_UNUSED_LINKS:  # it is counted alone
            raise _Unusable
        raise _Unusable(_why_not_named(filename, self.name))

    def _version(self, filename: str) -> str:
        """Return the version of a distribution of this project, or an empty text."""
        if len(filename) > FILENAME_LIMIT:
            return ""
        name, _, rest = filename.partition("-")
        version, _, tags = rest.partition("-")
        if not tags.endswith(".whl"):
            parsed = _parse_or_none(filename, self.name)
            if parsed is None:
                return ""
            return str(parsed.version)

        # a part is valid if it is in a filename whose other parts are; none of them has a hyphen
        if name not in self._names:
            self._names[name] = _parse_or_none(f"{name}-1-py3-none-any.whl", self.name) is not None
        if tags not in self._tags:
            self._tags[tags] = _parse_or_none(f"a-1-{tags}") is not None
        if version not in self._versions:
            with suppress(Invalid):
                self._versions[version] = str(parse_version(version))
        if not self._names[name] or not self._tags[tags]:
            return ""
        return self._versions.get(version, "")

    def _provenance_url(self, reference: object) -> str:
        """Return the absolute URL of a provenance, or an empty text if it may not be fetched."""
        if isinstance(reference, str) and reference:
            with suppress(_Unusable):  # the file itself can be used
                return self._allowed_url(reference)
        return ""

    def _allowed_url(self, reference: str) -> str:
        """Return the absolute URL of a link, or raise _Unusable if it may not be fetched."""
        if len(reference) > MAX_URL_LENGTH:
            raise _Unusable(f"has a URL of more than {MAX_URL_LENGTH} characters")
        scheme, slashes, rest = reference.partition("//")
        host, slash, path = rest.partition("/")
        origin = f"{scheme}{slashes}{host}"

        # most URLs: nothing to decode and to resolve, and a host that was allowed before
        if origin in self._origins and _PLAIN_PATH.fullmatch(slash + path):
            return reference

        # the same for most relative ones, below a folder whose host was allowed before
        up = ""
        match = _UPWARDS.match(reference)
        if match is not None:
            up = match[0]
        below = reference[len(up) :]
        if up in self._folders and _PLAIN_PATH.fullmatch(f"/{below}"):
            return self._folders[up] + below
        try:
            url = self.base.resolved(reference)
        except BadUrl as error:
            raise _Unusable("has a URL that cannot be used") from error

        # a credential is what the settings say, and never what a page says
        why = "its URL has a user name" if "@" in host else self.server.refusal_on_page(url)
        if why:
            raise _RefusedHost(url.authority, why)
        if f"{url.scheme}://{url.authority}" == origin:
            self._origins.add(origin)
        if not slashes:
            self._folders[up] = self.base.resolved(up or ".").without_userinfo
        return url.without_userinfo


def _parse_or_none(filename: str, project: NormalizedName | None = None) -> Distribution | None:
    """Return what a filename says, or None if it is not that of a distribution of the project."""
    with suppress(Invalid):
        return parse_filename(filename, project, zip_sdists=True)
    return None


def _why_not_named(filename: str, project: NormalizedName) -> str:
    """Return why a name is none of a distribution of a project, in words for `_Unusable`."""
    if len(filename) > FILENAME_LIMIT:
        return f"has a name of more than {FILENAME_LIMIT} bytes"
    if not is_distribution_name(filename):
        return "is not named like a distribution"
    with suppress(Invalid):
        filename_readings(filename, zip_sdists=True)
        return f"is not a file of {project}, by its name"
    if filename.endswith(".whl"):
        return "is not named as a wheel is: name-version[-build]-python-abi-platform[-label].whl"
    return "is not named as an sdist is: name-version.tar.gz, with a version by PEP 440"


def _digests(hashes: object) -> tuple[str | None, tuple[str, ...]]:
    """
    Return the SHA-256, and as `ALGORITHM=HEX` the other digests that can be computed here.

    The SHA-256 is empty if it is missing. It is None if it is malformed, or if it is missing and
    another digest is malformed.
    """
    if isinstance(hashes, dict) and len(hashes) == 1:  # most files: a fast way to the same
        digest = hashes.get("sha256")
        if isinstance(digest, str) and _SHA256.fullmatch(digest):
            return digest, ()
    digests, malformed = sound_digests(hashes)
    digest = digests.pop("sha256", "")
    other_hashes = tuple(f"{name}={digests[name]}" for name in sorted(digests))
    if malformed and not digest:
        return None, other_hashes
    return digest, other_hashes


def _size(size: object) -> int | None:
    """Return the size that a page says of a file, or None if it is none."""
    # not `isinstance`, by which true is 1
    if type(size) is int and 0 <= size <= MAX_SIZE:
        return size
    return None


def _said_digests(file: UpstreamFile) -> tuple[bool, bool]:
    """Return whether a page says the SHA-256 of a file, and whether it says another digest."""
    return bool(file.sha256), bool(file.other_hashes)


def _requires_python(text: object) -> str | None:
    """
    Return a text, empty for none, or None if it is unfit.

    A text that was cut would have another sense.
    """
    if text is None:
        return ""
    if not isinstance(text, str) or len(text) > TEXT_LIMIT:
        return None
    stripped = text.strip()
    if not stripped.isprintable():
        return None
    return stripped


class RootPage(Struct, frozen=True):
    """The start of what an index answers at its root."""

    asked: Url
    """The URL of the settings."""
    url: Url
    """The URL after redirects."""
    content_type: str
    body: bytes
    """Decompressed, at most `ROOT_LIMIT_BYTES`."""
    is_cut: bool
    """Whether there is more of it."""


def why_no_index(root: RootPage) -> str:
    """
    Return why the answer of a root does not show an index, in a few words.

    It is empty if the answer does.
    """
    if root.url.path != root.asked.path:
        return f"its root leads to {root.url.redacted}, which has to be its url then"
    kind = root.content_type.partition(";")[0].strip().lower()
    if "json" in kind:
        return _why_not_json(root)
    if "html" in kind:
        return _why_not_html(root, kind)
    return OTHER_PAGE


def _why_not_json(root: RootPage) -> str:
    """Return why a root in JSON does not show an index, or an empty text if it does."""
    document = _document(root)
    if not isinstance(document, dict):
        return OTHER_PAGE
    if "files" in document:
        return ONE_PROJECT
    meta = document.get("meta")
    if not isinstance(meta, dict) or not _is_version(meta.get("api-version")):
        return OTHER_PAGE
    projects = document.get("projects")
    if not isinstance(projects, list):
        return OTHER_PAGE
    has_names = all(isinstance(project, dict) and "name" in project for project in projects)
    return "" if has_names else OTHER_PAGE


def first_projects(root: RootPage) -> list[NormalizedName]:
    """
    Return the projects in the start of a root that shows an index, in its order.

    What is no name of a project is left out. Raises FetchError if a page in HTML cannot be read.
    """
    texts = list[object]()
    if "json" in root.content_type.lower():
        document = _document(root)
        if isinstance(document, dict):
            for project in document.get("projects", ()):
                if isinstance(project, dict):
                    texts.append(project.get("name"))
    else:
        page = read_page(root.body.decode("latin-1"), root.content_type, len(root.body))
        with suppress(BadUrl):
            texts += _names(root.url, page)
    names = [_project(text) for text in texts if isinstance(text, str)]
    return [NormalizedName(name) for name in names if name]


def _document(root: RootPage) -> object:
    """Return the JSON of a root, without what was cut off, or None if it is none."""
    body = root.body
    if root.is_cut:
        # the list ends within a project: what is before it is closed, and read; a project may have
        # objects in it, so that the last `}` need not be the end of one
        for _ in range(MAX_CUTS):
            body = body[: body.rfind(b"}") + 1]
            with suppress(ValueError, RecursionError):
                return msgspec.json.decode(body + b"]}")
            body = body[:-1]
    with suppress(ValueError, RecursionError):
        return msgspec.json.decode(body)
    return None


def _why_not_html(root: RootPage, kind: str) -> str:
    """Return why a root in HTML does not show an index, or an empty text if it does."""
    body = root.body
    if root.is_cut:  # within a link
        body = body[: body.rfind(b"</a>") + len(b"</a>")]
    # no byte is malformed then, and the names of projects are ASCII
    html = body.decode("latin-1")
    try:
        page = read_page(html, root.content_type, len(body))
        names = _names(root.url, page)
    except (FetchError, BadUrl):
        return OTHER_PAGE
    if any(map(is_distribution_name, names)) or _OF_PROJECT.search(html):
        return ONE_PROJECT
    meta = dict(reversed(page.meta))  # the first of two counts
    if "simple" in kind or _is_version(meta.get(VERSION_TAG)):
        return "" if all(map(_project, names)) else OTHER_PAGE
    if not names:
        return OTHER_PAGE if page.links else NO_PROJECTS
    return "" if _is_plain_list(html, page, names) else OTHER_PAGE


def _is_plain_list(html: str, page: HtmlPage, names: list[str]) -> bool:
    """Return whether a page is nothing but links to folders that are named as their texts are."""
    texts = [unescape(text).strip() for text in _ANCHOR.findall(html)]
    if len(texts) != len(page.links) or _ACTIVE.search(html):
        return False
    # a folder `simple` beside others is the index that is meant
    if "simple/" in names:
        return False
    # the first links may be those that lead upwards, which have no name
    texts_of_names = texts[len(texts) - len(names) :]
    for name, text in zip(names, texts_of_names, strict=True):
        project = _project(name)
        if not project or not name.endswith("/") or project != _project(text):
            return False
    return True


def _names(root: Url, page: HtmlPage) -> list[str]:
    """
    Return where the links of a root lead, relative to it, or absolute if that is elsewhere.

    Links that lead upwards, or sort the page, come first where a web server lists a folder.
    """
    base = root
    if page.base:
        base = root.resolved(page.base)
    names = list[str]()
    for link in page.links:
        url = base.resolved(link.href)
        is_own = url.origin == root.origin
        if is_own and root.path.startswith(url.path):
            continue
        if is_own and url.path.startswith(root.path):
            names.append(unquote(url.path.removeprefix(root.path)))
        else:
            names.append(url.redacted)
    return names


def _project(text: str) -> str:
    """Return the normalised name of a project in a link or its text, or an empty text."""
    name = canonicalize_name(text.removesuffix("/"))
    return name if is_normalized_name(name) else ""


def _is_version(text: object) -> bool:
    """Return whether a text is a version of the Simple API that a root may have."""
    return isinstance(text, str) and text.startswith("1.")
