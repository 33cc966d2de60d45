"""
Dry run of uploads: what would become of files, by their names, sizes and digests alone.

The dry run makes those checks of `Uploads` that need no byte of a file, with the rights of the
caller. It stores and reserves nothing. So the caller learns no more from it than from an upload.
Errors that only the archive shows, such as wrong metadata, are found by the upload alone.
"""

from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.errors import WheelyardError
from wheelyard.model.access import Caller
from wheelyard.model.distribution_filename import Distribution, filename_readings
from wheelyard.model.project import File, Project
from wheelyard.model.quotas import size_of_file, size_of_files
from wheelyard.operations.spooled_upload import empty_file, file_too_large
from wheelyard.operations.uploads import Uploads, find_identical

OTHER_CONTENT: Final = "other content"
"""Stands for a digest that differs from that of the listed file with the same name."""


class CandidateFile(Struct, frozen=True):
    """The name, size and digest of a file that may be uploaded."""

    filename: str
    size: int
    """Bytes."""
    sha256: str = ""
    """The digest in hexadecimal, or empty if nobody has computed it."""


class PreviewedUpload(Struct, frozen=True, kw_only=True):
    """What would become of a file if it was uploaded."""

    file: CandidateFile
    readings: tuple[Distribution, ...] = ()
    """
    The distributions that its filename may name.

    Empty if the filename is malformed, and several if only the metadata can decide.
    """
    refusal: WheelyardError | None = None
    """The error that refuses the file, or None if no check without its bytes refuses it."""
    is_first: bool = False
    """Whether its project never had a file."""
    is_listed: bool = False
    """
    Whether the same file is listed, or previewed before.

    Files without a digest are the same if their names and sizes are equal.
    """

    @property
    def distribution(self) -> Distribution | None:
        """The distribution that its filename names, or None if that is not certain."""
        if len(self.readings) != 1:
            return None
        return self.readings[0]


class UploadDryRun:
    """
    A dry run of several uploads, one after another.

    A file is previewed as if the files before it had been uploaded. Only one thread at a time may
    use an object.

    Args:
        uploads: The upload operation.
        caller: Who would upload.
    """

    def __init__(self, uploads: Uploads, caller: Caller) -> None:
        self._uploads = uploads
        self._caller = caller
        self._permitted = set[NormalizedName]()
        """The projects that the caller may upload to: upstream indexes are asked once for each."""
        self._accepted = dict[NormalizedName, list[File]]()
        """Entries of the previewed files that are new and would be accepted, by project."""

    def preview(self, file: CandidateFile) -> PreviewedUpload:
        """
        Return what would become of a file.

        An error that refuses the file, or an error of the store, is returned and not raised.
        Upstream indexes are asked for new names, and a name that is refused because one of them
        has it is written into the audit log.
        """
        readings = tuple[Distribution, ...]()
        try:
            readings = self._readings(file.filename)
            self._authorize(file, readings)
            self._check_size(file)
            if len(readings) > 1:
                return PreviewedUpload(file=file, readings=readings)
            return self._preview_in_project(file, readings[0])
        except WheelyardError as refusal:
            return PreviewedUpload(file=file, readings=readings, refusal=refusal)

    def _readings(self, filename: str) -> tuple[Distribution, ...]:
        """Return the distributions that a filename may name. Raises Invalid if it is malformed."""
        rules = self._uploads.rules
        return filename_readings(filename, zip_sdists=rules.zip_sdists, is_lenient=rules.lenient)

    def _authorize(self, file: CandidateFile, readings: tuple[Distribution, ...]) -> None:
        """Raise an error unless the caller may upload a file of this name and size."""
        name = readings[0].project
        is_certain = len(readings) == 1
        if is_certain and name in self._permitted:
            # the project is permitted, but the format of this filename may still be refused
            self._uploads.permit(file.filename, name, self._caller)
            return
        self._uploads.authorize(file.filename, self._caller, size_of_file(file.size))
        if is_certain:
            self._permitted.add(name)

    def _check_size(self, file: CandidateFile) -> None:
        """Raise TooLarge or Invalid if a file is too large or empty."""
        max_size = self._uploads.rules.max_size
        if file.size > max_size:
            raise file_too_large(max_size)
        if not file.size:
            raise empty_file(file.filename)

    def _preview_in_project(
        self, file: CandidateFile, distribution: Distribution
    ) -> PreviewedUpload:
        """Return what would become of a file whose project is certain, or raise its refusal."""
        uploads = self._uploads
        name = distribution.project
        project = uploads.projects.get_for_update(name)
        if uploads.attestations is not None:
            uploads.attestations.permit_unsigned(name)
        identical = self._find_identical(project, file, distribution)

        if identical is not None:
            # a listed file whose bytes the store has lost would be stored again
            is_listed = self._has_stored_bytes(name, file, identical)
        else:
            # a later file of the same upload may clash with an earlier one, or be the same
            accepted = Project(name=name, files=tuple(self._accepted.get(name, ())))
            is_listed = self._find_identical(accepted, file, distribution) is not None
            if not is_listed:
                self._require_room(project, file)
                self._note_accepted(file, distribution)
        return PreviewedUpload(
            file=file,
            readings=(distribution,),
            is_first=not (project.files or project.deleted_filenames),
            is_listed=is_listed,
        )

    def _find_identical(
        self, project: Project, file: CandidateFile, distribution: Distribution
    ) -> File | None:
        """
        Return the entry of a project that is the same file, or None if the file may be added.

        Raises the errors of the function `find_identical`.
        """
        listed = project.by_filename.get(file.filename)
        digest = file.sha256
        if listed is not None:
            digest = _digest_to_compare(file, listed)
        return find_identical(
            project,
            distribution,
            digest,
            self._uploads.runtime.now(),
            is_lenient=self._uploads.rules.lenient,
        )

    def _note_accepted(self, file: CandidateFile, distribution: Distribution) -> None:
        """Remember a file that would be accepted, for the previews of later files."""
        name = distribution.project
        entry = File(
            filename=file.filename,
            version=str(distribution.version),
            sha256=file.sha256,
            size=file.size,
            uploaded_at=self._uploads.runtime.now(),
            uploaded_by=self._caller.principal,
        )
        self._accepted.setdefault(name, []).append(entry)

    def _has_stored_bytes(self, name: NormalizedName, file: CandidateFile, listed: File) -> bool:
        """
        Return whether the store has the bytes of a listed file.

        The store is not asked about a file without a digest, which may have other bytes.
        """
        return not file.sha256 or self._uploads.files.is_intact(name, listed)

    def _require_room(self, project: Project, file: CandidateFile) -> None:
        """Raise TooLarge if a quota has no room for a file beside the accepted ones."""
        if self._uploads.quota_check is None:
            return
        for room in self._uploads.quota_check.for_files().rooms(project):
            sizes = [file.size]
            for name, entries in self._accepted.items():
                if room.is_of_index or name == project.name:
                    sizes += [entry.size for entry in entries]
            refusal = room.refusal(size_of_files(sizes))
            if refusal is not None:
                raise refusal


def _digest_to_compare(file: CandidateFile, listed: File) -> str:
    """Return the digest of a file to compare with that of the listed file with its name."""
    if file.sha256 and listed.sha256:
        return file.sha256
    # without both digests: files of one name and size are most likely the same
    if file.size == listed.size:
        return listed.sha256
    return OTHER_CONTENT
