"""
Reads what an upstream index, a stranger, sends: the page of a project, and the root.

A link that cannot be used is left out and counted, and the first such links are named. A page that
is unusable as a whole raises FetchError, and nothing else is ever raised. Of every file that is
returned, the filename is a distribution of the project, and the URL may be fetched.

Follows the simple repository API (PEPs 503 and 691). A root in JSON, or in HTML with the version of
the API, says itself that it is a list of projects. Any other HTML page is a list if it has nothing
but links to folders that are named as their text is. To be strict costs little, as a page of a
project proves an index, too.
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
    SimplePage,
    read_page,
    read_simple_page,
)
from wheelyard.upstream.page import OtherFormat, UpstreamFile, UpstreamPage
from wheelyard.upstream.settings import UpstreamServer

MAX_FILES: Final = 100_000
"""Files of one project."""
TEXT_LIMIT: Final = 1024
"""Characters of a text, such as the reason of a yank. Longer texts are cut."""
MAX_SIZE: Final = 2**53
"""Bytes of a file. Not every reader of JSON keeps a larger number."""
MAX_LOCATIONS: Final = 10
"""Alternate locations and refused hosts that are kept."""
MAX_OTHER_FORMATS: Final = 1000
"""Files in other formats that are kept."""
MAX_UNUSED_LINKS: Final = 100
"""Links that cannot be used and are named. All such links are counted."""
MAX_EMPTY_VERSIONS: Final = 10_000
"""Versions without files that are kept."""
SHOWN_SUFFIXES: Final = (".whl", SDIST_SUFFIX, ZIP_SUFFIX)
"""Suffixes of the formats that are shown."""
MAJOR: Final = 1
"""The major version of the Simple API that can be read (PEP 629)."""
ROOT_LIMIT_BYTES: Final = 64 * 1024
"""Bytes of a root that are read."""
MAX_CUTS: Final = 10
"""How often a root in JSON that is not read whole is cut at the end of another object."""

ONE_PROJECT: Final = "its root is the page of one project; the name has to be left out of the url"
OTHER_PAGE: Final = "its root is a page of another kind; perhaps its url lacks /simple/ at the end"
NO_PROJECTS: Final = "its root lists no projects"

_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_API_VERSION: Final = re.compile(r"([0-9]{1,9})\.[0-9]{1,9}", re.ASCII)
_PLAIN_PATH: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.+!~%=-]+)+", re.ASCII)
_UPWARDS: Final = re.compile(r"(?:\.\./)+", re.ASCII)
_TAG: Final = re.compile(rb"<[a-z!]", re.IGNORECASE)
_INTERACTIVE: Final = re.compile(rb"<(?:form|input|script)\b", re.IGNORECASE)
"""Begins what a person has to fill in, or a browser to run, such as a page to sign in with."""
_ANCHOR: Final = re.compile(r"<a\b[^<>]*+>([^<]*+)</a\s*>", re.IGNORECASE)
_OF_PROJECT: Final = re.compile(r"<title>\s*+links for\b", re.IGNORECASE)
"""The title that indexes give the page of a project, also of a project without files."""
_ACTIVE: Final = re.compile(r"<(?:form|script)\b", re.IGNORECASE)
"""What no plain list of projects has."""


def parse_page(
    fetched: FetchedPage, name: NormalizedName, server: UpstreamServer, now: datetime
) -> UpstreamPage:
    """
    Return the page of a project of `server`, which has come at `now`.

    A link that cannot be used is left out, and counted. Raises FetchError if the page cannot be
    used. If none of the files may be fetched, the error has `is_refused`.
    """
    page = _read_project_page(fetched, name)
    parser = _FileParser(name, page.base, server)
    has_links = False
    for entry in page.files or ():
        parser.add(entry)
        has_links = True
    parser.leave_out_single_variants()
    is_listing = parser.has_distributions or page.version is not UNSET
    if page.is_html and not is_listing and not _is_empty(fetched.body, has_links=has_links):
        # a page to sign in with, or of an error, has no links to files either
        raise FetchError("its page has no links to files, and nothing that says what it is")
    by_filename = parser.by_filename
    files = tuple(by_filename[filename] for filename in sorted(by_filename))
    variants = tuple(parser.variants[release] for release in sorted(parser.variants))
    other_formats = starmap(OtherFormat, sorted(parser.other_formats.items()))

    # a page without files would look as if the project had none
    if parser.refused_hosts and not by_filename:
        first_reason = next(iter(parser.refused_hosts.values()))
        raise FetchError(f"none of its files may be fetched: {first_reason}", is_refused=True)
    return UpstreamPage(
        name=name,
        upstream=server.id,
        fetched_at=now,
        url=fetched.url.redacted,
        etag=fetched.etag,
        reading=server.reading,
        status=_status(page.status),
        reason=_text(page.reason),
        files=files,
        variants=variants,
        other_formats=tuple(other_formats),
        empty_versions=_empty_versions(page.versions, by_filename.values()),
        alternate_locations=_locations(page.locations),
        refused_hosts=tuple(parser.refused_hosts),
        unused_links=tuple(parser.unused_links),
        unused_link_count=parser.unused_count,
    )


def _read_project_page(fetched: FetchedPage, name: NormalizedName) -> SimplePage:
    """Return what the page of a project says, or raise FetchError if it is no such page."""
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
    return page


def _empty_versions(versions: object, files: Iterable[UpstreamFile]) -> tuple[str, ...]:
    """Return the versions of a list that have no file (PEP 700)."""
    if not isinstance(versions, list):
        return ()
    keys_with_files = {strip_trailing_zeros(file.version) for file in files}
    empty_versions = dict[str, None]()
    for text in versions:
        if len(empty_versions) >= MAX_EMPTY_VERSIONS:
            break
        # a version that is written as its key need not be parsed
        if not isinstance(text, str) or text in keys_with_files:
            continue
        with suppress(Invalid):
            version = str(parse_version(text))
            if strip_trailing_zeros(version) not in keys_with_files:
                empty_versions[version] = None
    return tuple(empty_versions)


def _is_empty(body: bytearray, *, has_links: bool) -> bool:
    """Return whether a page in HTML without links to files is that of a project without files."""
    if b"inks for " in body:  # the title that pip expected
        return True
    if has_links:
        return False
    is_html = _TAG.search(body) is not None
    return is_html and not _INTERACTIVE.search(body)


def _check_version(version: object) -> None:
    """
    Check that this module can read a page of a version of the Simple API.

    Raises FetchError if the version is not known, or is none.
    """
    if isinstance(version, str):
        match = _API_VERSION.fullmatch(version)
        # a later minor version only adds to what is there (PEP 629)
        if match is not None and int(match[1]) <= MAJOR:
            return
    raise FetchError("its page is of a version of the Simple API that is not known here")


def _is_name(name: object, expected: NormalizedName) -> bool:
    """Return whether the name that a page says is that of the project that was asked for."""
    return isinstance(name, str) and canonicalize_name(name) == expected


def check_final_url(url: Url, name: NormalizedName) -> None:
    """
    Check that a URL, after redirects, still ends with the name of the project.

    Raises FetchError if it ends with another name.
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
    """Return a text of a page on one line, cut at a limit, or an empty text for any other value."""
    if not isinstance(text, str):
        return ""
    # a huge text is cut first, which makes it one line faster
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


class _UnusableLinkError(Exception):
    """A link cannot be used. The text is the rest of a sentence that begins with the link."""


class _RefusedHostError(_UnusableLinkError):
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
    """Whether the page links a distribution, perhaps of another project."""
    by_filename: dict[str, UpstreamFile] = {}
    """The files that are shown."""
    variants: dict[str, UpstreamFile] = {}
    """The documents about wheels with a label, by version without trailing zeros."""
    refused_hosts: dict[str, str] = {}
    """The first hosts that files may not be fetched from, and why."""
    other_formats: dict[str, str] = {}
    """The versions of the first files in formats that are not shown, by filename."""
    unused_links: list[UnusedLink] = []
    """The first links that cannot be used."""
    unused_count: int = 0
    """How many links cannot be used."""
    _names: dict[str, bool] = {}
    """Whether the name in a wheel's filename is that of the project, as far as it was parsed."""
    _versions: dict[str, str] = {}
    """Normalised versions, by the version in a wheel's filename."""
    _tags: dict[str, bool] = {}
    """Whether the tags in a wheel's filename are valid, as far as they were parsed."""
    _allowed_origins: set[str] = set()
    """The beginnings of URLs, up to the host, that files may be fetched from."""
    _allowed_folders: dict[str, str] = {}
    """The URL of a folder that files may be fetched from, by the `../` that lead to it."""

    def add(self, entry: PageEntry) -> None:
        """Add a file of a page, or count its link if it cannot be used."""
        try:
            self._add(entry)
        except _UnusableLinkError as error:
            if isinstance(error, _RefusedHostError) and len(self.refused_hosts) < MAX_LOCATIONS:
                self.refused_hosts[error.host] = error.why
            self._count_unused(entry.filename, str(error))

    def _count_unused(self, filename: object, why: str) -> None:
        """Count a link that cannot be used, and remember the first such links with the reason."""
        self.unused_count += 1
        if len(self.unused_links) < MAX_UNUSED_LINKS:
            name = ""
            if isinstance(filename, str):
                name = to_one_line(filename[: 2 * FILENAME_LIMIT], FILENAME_LIMIT)
            self.unused_links.append(UnusedLink(name, to_one_line(why, TEXT_LIMIT)))

    def _add(self, entry: PageEntry) -> None:
        """
        Add a file of a page, or raise _UnusableLinkError.

        A stranger has written all values of an entry, and each may be of any type, as JSON is not
        validated before.
        """
        filename = entry.filename
        reference = entry.url
        if not isinstance(filename, str) or not isinstance(reference, str):
            raise _UnusableLinkError("has no filename, or no URL")
        if filename.endswith(VARIANTS_SUFFIX):
            self._add_variants(entry, filename, reference)
            return
        version = self._version(filename)
        if not version:
            self._leave_out(filename)
            return
        self.has_distributions = True
        file = self._file(entry, filename, reference, version)

        # of two with one name, the first with a SHA-256 counts, else the first with another digest
        earlier_file = self.by_filename.get(filename)
        if earlier_file is not None:
            self._count_unused(filename, "is listed twice")
        if earlier_file is None or _digest_rank(file) > _digest_rank(earlier_file):
            self.by_filename[filename] = file

    def _file(self, entry: PageEntry, filename: str, reference: str, version: str) -> UpstreamFile:
        """Return a distribution of the project, or raise _UnusableLinkError."""
        digest, other_hashes = _digests(entry.hashes)
        if digest is None:
            raise _UnusableLinkError("has a malformed digest")
        requires_python = _requires_python(entry.requires_python)
        if requires_python is None:
            raise _UnusableLinkError("has a malformed requires-python")

        # the URL last: a refused host is only remembered for files that would be shown
        url = self._allowed_url(reference)

        # PEP 714 has renamed the member of PEP 658, which counts where the new member is missing
        metadata = entry.core_metadata
        if metadata is None:
            metadata = entry.dist_info_metadata
        metadata_digest, other_metadata_hashes = _digests(metadata)
        yanked: str | None = None
        if entry.yanked:  # true, or a reason
            yanked = _text(entry.yanked)
        return UpstreamFile(
            filename=filename,
            version=version,
            url=url,
            sha256=digest,
            other_hashes=other_hashes,
            size=_size(entry.size),
            uploaded_at=parse_iso_date(entry.upload_time),
            core_metadata=metadata_digest or "",
            other_metadata_hashes=other_metadata_hashes,
            # nobody could verify core metadata with a malformed digest
            has_metadata=bool(metadata) and metadata_digest is not None,
            requires_python=requires_python or None,
            yanked=yanked,
            is_attested=isinstance(entry.provenance, str) and entry.provenance != "",
            provenance_url=self._provenance_url(entry.provenance),
        )

    def _add_variants(self, entry: PageEntry, filename: str, reference: str) -> None:
        """Add the document about wheels with a label of a release, or raise _UnusableLinkError."""
        name, _, version = filename.removesuffix(VARIANTS_SUFFIX).partition("-")
        if len(filename) > FILENAME_LIMIT or canonicalize_name(name) != self.name:
            raise _UnusableLinkError(f"is not about wheels of {self.name}, by its name")
        try:
            release = str(parse_version(version))
        except Invalid as error:
            raise _UnusableLinkError("has no version by PEP 440 in its name") from error
        digest, _ = _digests(entry.hashes)

        # a document changes with the wheels, and nobody could tell what is stored without a digest
        if not digest:
            raise _UnusableLinkError("has no SHA-256")
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
        Leave out wheels with a label that have no document, and documents about no such wheel.

        Clients can use neither. This is called when all files are added.
        """
        labelled_files = [file for file in self.by_filename.values() if label_of(file.filename)]
        labelled_releases = {strip_trailing_zeros(file.version) for file in labelled_files}
        for file in labelled_files:
            if strip_trailing_zeros(file.version) not in self.variants:
                del self.by_filename[file.filename]
                document = variants_filename(self.name, file.version)
                self._count_unused(file.filename, f"is a wheel variant without {document}")
        releases_without_wheels = self.variants.keys() - labelled_releases
        for release in releases_without_wheels:
            document = self.variants.pop(release).filename
            self._count_unused(document, "is about wheel variants, and no wheel has a label")

    def _leave_out(self, filename: str) -> None:
        """Note a distribution in a format that is not shown, or raise _UnusableLinkError."""
        is_distribution = is_distribution_name(filename)
        self.has_distributions |= is_distribution
        is_in_other_format = is_distribution and not filename.endswith(SHOWN_SUFFIXES)
        if is_in_other_format and len(filename) <= FILENAME_LIMIT:
            version = version_in(filename, self.name)
            if version and len(self.other_formats) < MAX_OTHER_FORMATS:
                self.other_formats[filename] = version
                return
            raise _UnusableLinkError(f"is in another format: wheelyard takes {ACCEPTED_FORMATS}")
        if len(self.unused_links) >= MAX_UNUSED_LINKS:  # the link is counted, and needs no reason
            raise _UnusableLinkError
        raise _UnusableLinkError(_why_not_named(filename, self.name))

    def _version(self, filename: str) -> str:
        """Return the version of a distribution of this project, or an empty text."""
        if len(filename) > FILENAME_LIMIT:
            return ""
        name, _, version_and_tags = filename.partition("-")
        version, _, tags = version_and_tags.partition("-")
        if not tags.endswith(".whl"):
            parsed = _parse_or_none(filename, self.name)
            if parsed is None:
                return ""
            return str(parsed.version)

        # each part is parsed once, in a filename whose other parts are valid: no part but the tags
        # has a hyphen
        if name not in self._names:
            distribution = _parse_or_none(f"{name}-1-py3-none-any.whl", self.name)
            self._names[name] = distribution is not None
        if tags not in self._tags:
            distribution = _parse_or_none(f"a-1-{tags}")
            self._tags[tags] = distribution is not None
        if version not in self._versions:
            with suppress(Invalid):
                self._versions[version] = str(parse_version(version))
        if not self._names[name] or not self._tags[tags]:
            return ""
        return self._versions.get(version, "")

    def _provenance_url(self, reference: object) -> str:
        """Return the absolute URL of a provenance, or an empty text if it may not be fetched."""
        if isinstance(reference, str) and reference:
            with suppress(_UnusableLinkError):  # the file itself can be used
                return self._allowed_url(reference)
        return ""

    def _allowed_url(self, reference: str) -> str:
        """Return the absolute URL of a link, or raise _UnusableLinkError."""
        if len(reference) > MAX_URL_LENGTH:
            raise _UnusableLinkError(f"has a URL of more than {MAX_URL_LENGTH} characters")
        scheme, slashes, host_and_path = reference.partition("//")
        host, slash, path = host_and_path.partition("/")
        origin = f"{scheme}{slashes}{host}"

        # most absolute URLs have nothing to decode or resolve, and a host that was allowed before
        if origin in self._allowed_origins and _PLAIN_PATH.fullmatch(slash + path):
            return reference

        # most relative URLs are below a folder that was allowed before
        upwards = ""
        match = _UPWARDS.match(reference)
        if match is not None:
            upwards = match[0]
        path_in_folder = reference[len(upwards) :]
        if upwards in self._allowed_folders and _PLAIN_PATH.fullmatch(f"/{path_in_folder}"):
            return self._allowed_folders[upwards] + path_in_folder
        try:
            url = self.base.resolved(reference)
        except BadUrl as error:
            raise _UnusableLinkError("has a URL that cannot be used") from error

        # a credential is what the settings say, and never what a page says
        why = "its URL has a user name" if "@" in host else self.server.refusal_on_page(url)
        if why:
            raise _RefusedHostError(url.authority, why)
        if f"{url.scheme}://{url.authority}" == origin:
            self._allowed_origins.add(origin)
        if not slashes:
            folder = self.base.resolved(upwards or ".")
            self._allowed_folders[upwards] = folder.without_userinfo
        return url.without_userinfo


def _parse_or_none(filename: str, project: NormalizedName | None = None) -> Distribution | None:
    """Return what a filename says, or None if it is of no distribution of the project."""
    with suppress(Invalid):
        return parse_filename(filename, project, zip_sdists=True)
    return None


def _why_not_named(filename: str, project: NormalizedName) -> str:
    """Return why a filename is of no distribution of a project, for `_UnusableLinkError`."""
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
    if isinstance(hashes, dict) and len(hashes) == 1:  # most files: a faster way
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
    """Return the size that a page says of a file, or None if the value is no size."""
    # not `isinstance`, for which true is the number 1
    if type(size) is int and 0 <= size <= MAX_SIZE:
        return size
    return None


def _digest_rank(file: UpstreamFile) -> tuple[bool, bool]:
    """Return a value that is greater for a file with a SHA-256, and then with another digest."""
    return bool(file.sha256), bool(file.other_hashes)


def _requires_python(text: object) -> str | None:
    """
    Return the Python versions that a file requires, or an empty text if it says none.

    Return None if the value is malformed, or too long: a text that was cut would say something
    else.
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

    requested_url: Url
    """The URL of the settings."""
    url: Url
    """The URL after redirects."""
    content_type: str
    body: bytes
    """The decompressed body, at most `ROOT_LIMIT_BYTES` of it."""
    is_cut: bool
    """Whether the body goes on."""


def why_no_index(root: RootPage) -> str:
    """
    Return why a root does not show an index, in a few words.

    Return an empty text if the root shows an index.
    """
    if root.url.path != root.requested_url.path:
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
    for project in projects:
        if not isinstance(project, dict) or "name" not in project:
            return OTHER_PAGE
    return ""


def first_projects(root: RootPage) -> list[NormalizedName]:
    """
    Return the projects in the start of a root that shows an index, in its order.

    A text that is no name of a project is left out. Raises FetchError if a page in HTML cannot be
    read.
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
            texts += _link_targets(root.url, page)
    names = list[NormalizedName]()
    for text in texts:
        if isinstance(text, str):
            name = _project_name(text)
            if name:
                names.append(NormalizedName(name))
    return names


def _document(root: RootPage) -> object:
    """Return the JSON of a root, as far as the body goes, or None if it is no JSON."""
    body = root.body
    if root.is_cut:
        # the list ends within a project, so it is closed before that project; a project may have
        # objects in it, so the last `}` need not be the end of a project
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
        targets = _link_targets(root.url, page)
    except (FetchError, BadUrl):
        return OTHER_PAGE
    if any(map(is_distribution_name, targets)) or _OF_PROJECT.search(html):
        return ONE_PROJECT
    meta = dict(reversed(page.meta))  # the first of two elements with one name counts
    if "simple" in kind or _is_version(meta.get(VERSION_TAG)):
        return "" if all(map(_project_name, targets)) else OTHER_PAGE
    if not targets:
        return OTHER_PAGE if page.links else NO_PROJECTS
    return "" if _is_plain_list(html, page, targets) else OTHER_PAGE


def _is_plain_list(html: str, page: HtmlPage, targets: list[str]) -> bool:
    """Return whether a page is nothing but links to folders that are named as their texts are."""
    texts = [unescape(text).strip() for text in _ANCHOR.findall(html)]
    if len(texts) != len(page.links) or _ACTIVE.search(html):
        return False
    # a folder `simple` beside others is the index that is meant
    if "simple/" in targets:
        return False
    # the first links may lead upwards, and are not among the targets
    texts_of_targets = texts[len(texts) - len(targets) :]
    for target, text in zip(targets, texts_of_targets, strict=True):
        name = _project_name(target)
        if not name or not target.endswith("/") or name != _project_name(text):
            return False
    return True


def _link_targets(root: Url, page: HtmlPage) -> list[str]:
    """
    Return where the links of a root lead: relative to the root, or absolute if that is elsewhere.

    Links that lead upwards, or sort the page, are left out. Where a web server lists a folder, they
    come first.
    """
    base = root
    if page.base:
        base = root.resolved(page.base)
    targets = list[str]()
    for link in page.links:
        url = base.resolved(link.href)
        is_own = url.origin == root.origin
        if is_own and root.path.startswith(url.path):
            continue
        if is_own and url.path.startswith(root.path):
            targets.append(unquote(url.path.removeprefix(root.path)))
        else:
            targets.append(url.redacted)
    return targets


def _project_name(text: str) -> str:
    """Return the normalised name of a project in a link or its text, or an empty text."""
    name = canonicalize_name(text.removesuffix("/"))
    return name if is_normalized_name(name) else ""


def _is_version(text: object) -> bool:
    """Return whether a text is a version of the Simple API that a root may have."""
    return isinstance(text, str) and text.startswith("1.")
