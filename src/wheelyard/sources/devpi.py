"""
Import source `devpi`: the output of `devpi-export`, `dataindex.json` and the files that it lists.

`indexes` has for each `USER/INDEX` its `indexconfig` (`type` is `stage` or `mirror`) and `files`:

* `type`: `releasefile`, `doczip` or `toxresult`. Only the first is a package
* `relpath`: path of the file, relative to the folder
* `projectname`: the name of its project
* `entrymapping`: `hashes` by algorithm, `hash_spec` (`sha256=HEX`), `last_modified` as in HTTP.
  With `dumpversion` "1" there is `md5` instead of `hashes`
* `log`: actions, oldest first: `what` (`upload`, `push`, `overwrite`), `who`, `when` (year to
  second, UTC). A pushed file keeps the log of the index that it was pushed from.

It also has metadata of projects and hashes of passwords, which are not read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import Struct
from packaging.utils import canonicalize_name

from wheelyard.errors import quoted
from wheelyard.model.decoding import counted
from wheelyard.sources.candidate import (
    BadDigest,
    Skipped,
    SourceItem,
    bad_source,
    clean_uploader,
    parse_date_parts,
    parse_digests,
    parse_hash,
    parse_http_date,
)
from wheelyard.sources.file_tree import FileTree, read_bounded

INDEX_FILE: Final = "dataindex.json"
INDEX_LIMIT_BYTES: Final = 1024**3
"""Bytes of `dataindex.json`. With 100,000 files it has some 500 MB, mostly descriptions."""
RELEASE_FILE: Final = "releasefile"
"""The type of a package among the files."""
MAX_NAMES: Final = 10
"""Indexes that a message names."""
DUMP_VERSIONS: Final = ("1", "2")
"""The versions of exports that can be read."""
_OTHER_FILE_TYPES: Final = {"doczip": "documentation", "toxresult": "results of tests"}


class _LogEntry(Struct):
    what: str = ""
    who: str | None = None
    when: list[int] | None = None


class _EntryMapping(Struct):
    hashes: dict[str, str | None] | None = None
    md5: str | None = None
    hash_spec: str | None = None
    last_modified: str | None = None


class _Config(Struct):
    type: str | None = None


class _FileEntry(Struct):
    relpath: str
    projectname: str | None = None
    type: str = RELEASE_FILE
    entrymapping: _EntryMapping = msgspec.field(default_factory=_EntryMapping)
    log: list[_LogEntry] = []


class _IndexEntry(Struct):
    files: list[_FileEntry] = []
    indexconfig: _Config = msgspec.field(default_factory=_Config)

    @property
    def is_mirror(self) -> bool:
        return self.indexconfig.type == "mirror"

    @property
    def package_count(self) -> int:
        return sum(file.type == RELEASE_FILE for file in self.files)


class _DevpiExport(Struct):
    indexes: dict[str, _IndexEntry]
    dumpversion: str = ""


class DevpiSource(Struct, frozen=True):
    """Source of an export of devpi-server."""

    tree: FileTree
    chosen_indexes: tuple[str, ...] = ()
    """Indexes to import, as USER/INDEX. May be empty if only one index has packages."""
    mirrors: bool = False
    """Whether mirrored files are imported too. A chosen mirror always is."""

    def candidates(self) -> Iterator[SourceItem]:
        """
        Yield a `Candidate` for each package of the chosen indexes.

        Yield a `Skipped` for each other index that has files, each other type of file in a chosen
        index, and each package that is missing or has a malformed digest. Raises Invalid (code
        `bad_source`) if the export cannot be read, it lacks a chosen index, none of several is
        chosen, or there is no package in the chosen ones. Raises Unavailable if the tree does not
        answer.
        """
        indexes = self._read_export().indexes
        chosen_names = self.chosen_indexes or _default_indexes(indexes, mirrors=self.mirrors)
        for name in chosen_names:
            if name not in indexes:
                all_names = _join_names(indexes)
                raise bad_source(
                    f"There is no index {quoted(name)} in this export. It has {all_names}."
                )
        if not any(indexes[name].package_count for name in chosen_names):
            raise bad_source(_nothing_to_import(indexes, chosen_names))
        for name, index in sorted(indexes.items()):
            if name in chosen_names:
                yield from self._candidates_of(name, index.files)
            elif index.files:
                why = "it is not the index that was asked for"
                if index.is_mirror:
                    why = f"it mirrors {len(index.files)} files"
                yield Skipped(f"{self.tree}/{name}", why)

    def _read_export(self) -> _DevpiExport:
        """Return what `dataindex.json` says, or raise Invalid if it cannot be used."""
        index_file = self.tree.find(INDEX_FILE)
        if index_file is None:
            message = f"There is no {INDEX_FILE} in {self.tree}. Name a folder of devpi-export."
            raise bad_source(message)
        try:
            body = read_bounded(index_file, INDEX_LIMIT_BYTES)
            export = msgspec.json.decode(body, type=_DevpiExport)
        except (OSError, ValueError, RecursionError) as error:
            raise bad_source(f"{INDEX_FILE} in {self.tree} cannot be read, or is none.") from error
        if export.dumpversion not in DUMP_VERSIONS:
            raise bad_source(
                f"This export has version {quoted(export.dumpversion)}, which this version does "
                "not know. Export again with devpi-server 6."
            )
        return export

    def _candidates_of(self, name: str, files: list[_FileEntry]) -> Iterator[SourceItem]:
        """Yield the packages of an index, and one `Skipped` for each other type of its files."""
        other_types = Counter[str]()
        # in the order of paths, so that a second import reads the files in the same order
        for entry in sorted(files, key=attrgetter("relpath")):
            if entry.type == RELEASE_FILE:
                yield self._candidate(entry)
            else:
                other_types[entry.type] += 1
        for file_type, count in sorted(other_types.items()):
            description = _OTHER_FILE_TYPES.get(file_type, f"of the kind {quoted(file_type)}")
            subject = "1 file is" if count == 1 else f"{count} files are"
            yield Skipped(f"{self.tree}/{name}", f"{subject} {description}")

    def _candidate(self, entry: _FileEntry) -> SourceItem:
        """Return a package with what the export says of it, or why it cannot be imported."""
        location = f"{self.tree}/{entry.relpath}"
        file = self.tree.find(entry.relpath)
        if file is None:
            return Skipped(location, f"{INDEX_FILE} names it, and it is not there", is_error=True)
        mapping = entry.entrymapping
        declared_digests = dict[str, str | None]()
        if mapping.md5 is not None:
            declared_digests["md5"] = mapping.md5
        declared_digests.update(mapping.hashes or {})
        try:
            hashes = parse_digests(declared_digests)
            # where both say a digest by one algorithm, `hashes` counts
            hashes = parse_hash(mapping.hash_spec or "") | hashes
        except BadDigest as error:
            return Skipped(location, str(error), is_error=True)
        upload = _first_upload(entry.log)
        return replace(
            file,
            project=canonicalize_name(entry.projectname or ""),
            hashes=hashes,
            uploaded_at=parse_date_parts(upload.when) or parse_http_date(mapping.last_modified),
            uploaded_by=clean_uploader(upload.who),
        )


def _first_upload(log: Iterable[_LogEntry]) -> _LogEntry:
    """Return the first upload in the log of a file, or an empty entry if it has none."""
    # a pushed file keeps the log of the index that it was uploaded to
    for action in log:
        if action.what == "upload":
            return action
    return _LogEntry()


def _default_indexes(indexes: Mapping[str, _IndexEntry], *, mirrors: bool) -> list[str]:
    """
    Return the names of the one stage with files, and with `mirrors` those of all mirrors.

    Raises Invalid (code `bad_source`) if several stages have files.
    """
    stage_names = list[str]()
    mirror_names = list[str]()
    for name, index in indexes.items():
        if index.is_mirror:
            mirror_names.append(name)
        elif index.files:
            stage_names.append(name)
    # they would become one index here, and perhaps have other readers
    if len(stage_names) > 1:
        raise bad_source(
            f"This export has the indexes {_join_names(stage_names)}. Choose with --index, which "
            "may be repeated: an index here is one."
        )
    return stage_names + mirror_names if mirrors else stage_names


def _nothing_to_import(indexes: Mapping[str, _IndexEntry], chosen_names: Sequence[str]) -> str:
    """Return what an export has instead of packages in the chosen indexes, and what to do."""
    if not indexes:
        fact = "There is no index in this export, and so no package to import."
    else:
        descriptions = list[str]()
        for name, index in indexes.items():
            packages = counted(index.package_count, "package")
            mark = "a mirror, " if index.is_mirror else ""
            descriptions.append(f"{name} ({mark}{packages})")
        described_indexes = _join_names(descriptions)
        fact = f"There is no package to import. This export has {described_indexes}."
    other_indexes = [index for name, index in indexes.items() if name not in chosen_names]
    with_packages = [index for index in other_indexes if index.package_count]
    if any(index.is_mirror for index in with_packages):
        return f"{fact} --mirrors imports what a mirror has, --index USER/INDEX what one index has."
    if with_packages:
        return f"{fact} Choose another one with --index USER/INDEX."
    return (
        f"{fact} Look whether devpi-export was given the folder of the right server (--serverdir), "
        "and export again."
    )


def _join_names(texts: Iterable[str]) -> str:
    """Return the first `MAX_NAMES` texts of a list, in order, as one text for a message."""
    ordered_texts = sorted(texts)
    # an export may be a stranger's: nothing in a name reaches the terminal as it is
    joined = ", ".join(ascii(text)[1:-1] for text in ordered_texts[:MAX_NAMES])
    if len(ordered_texts) > MAX_NAMES:
        joined += ", ..."
    return joined
