"""
Dry run of uploads: what would become of files, by their names, sizes and digests alone.

It makes those checks of `Uploads` that need no byte of a file, with the rights of its caller, and
stores and reserves nothing. So it tells nobody more than an upload would. What only the archive
shows, such as wrong metadata, is found by the upload.
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
"""Stands for the digest of a file that has other content than the one it is compared with."""


class CandidateFile(Struct, frozen=True):
    """What is known of a file before it is uploaded."""

    filename: str
    size: int
    """Bytes."""
    sha256: str = ""
    """Empty if nobody has computed it."""


class PreviewedUpload(Struct, frozen=True, kw_only=True):
    """What would become of a file."""

    file: CandidateFile
    readings: tuple[Distribution, ...] = ()
    """What its filename may name: nothing if it is malformed, several if its metadata decides."""
    refusal: WheelyardError | None = None
    """Why it would not be taken, or None if it would be, as far as its name says it."""
    is_first: bool = False
    """Whether its project never had a file."""
    is_listed: bool = False
    """Whether its filename is listed: with the same content, if the digest of the file is known."""

    @property
    def distribution(self) -> Distribution | None:
        """What its filename names, or None if that is not certain."""
        if len(self.readings) != 1:
            return None
        return self.readings[0]


class UploadDryRun:
    """
    A dry run of uploads, one after another, of which the later ones count with the earlier ones.

    Only one thread at a time may use it.

    Args:
        uploads: The upload operation.
        caller: Who would upload.
    """

    def __init__(self, uploads: Uploads, caller: Caller) -> None:
        self._uploads = uploads
        self._caller = caller
        self._permitted = set[NormalizedName]()
        """The projects whose name may have files of the caller: upstream indexes are asked once."""
        self._coming = dict[NormalizedName, list[File]]()
        """By project, the files before that would be taken. One without a digest has none here."""

    def preview(self, file: CandidateFile) -> PreviewedUpload:
        """
        Return what would become of a file: an error that refuses it is returned, not raised.

        So is an error of the store. Upstream indexes are asked for new names, and the audit log has
        each name that is refused for one of them.
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
        """Return what a filename may name. Raises Invalid if it is malformed."""
        rules = self._uploads.rules
        return filename_readings(filename, zip_sdists=rules.zip_sdists, is_lenient=rules.lenient)

    def _authorize(self, file: CandidateFile, readings: tuple[Distribution, ...]) -> None:
        """Raise an error unless the caller may upload a file of this name and size."""
        name = readings[0].project
        if len(readings) == 1 and name in self._permitted:
            # each file still has a filename of its own, which may be one that is not accepted
            self._uploads.permit(file.filename, name, self._caller)
            return
        self._uploads.authorize(file.filename, self._caller, size_of_file(file.size))
        if len(readings) == 1:
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

        # the same bytes are stored again if the store has lost them
        is_listed = identical is not None and self._is_kept(name, file, identical)
        if identical is None:
            # a later file of the same upload may clash with an earlier one, or be the same
            coming = Project(name=name, files=tuple(self._coming.get(name, ())))
            is_listed = self._find_identical(coming, file, distribution) is not None
        if identical is None and not is_listed:
            self._require_room(project, file)
            self._note_coming(file, distribution)
        return PreviewedUpload(
            file=file,
            readings=(distribution,),
            is_first=not (project.files or project.deleted_filenames),
            is_listed=is_listed,
        )

    def _find_identical(
        self, project: Project, file: CandidateFile, distribution: Distribution
    ) -> File | None:
        """Return the entry of a project that is the same file, as far as is known, or None."""
        same_name = project.by_filename.get(file.filename)
        digest = file.sha256
        if same_name is not None:
            digest = _digest_beside(file, same_name)
        return find_identical(
            project,
            distribution,
            digest,
            self._uploads.runtime.now(),
            is_lenient=self._uploads.rules.lenient,
        )

    def _note_coming(self, file: CandidateFile, distribution: Distribution) -> None:
        """Have the files that are previewed later count with this one."""
        name = distribution.project
        entry = File(
            filename=file.filename,
            version=str(distribution.version),
            sha256=file.sha256,
            size=file.size,
            uploaded_at=self._uploads.runtime.now(),
            uploaded_by=self._caller.principal,
        )
        self._coming.setdefault(name, []).append(entry)

    def _is_kept(self, name: NormalizedName, file: CandidateFile, listed: File) -> bool:
        """Return whether the store has the bytes of a listed file, if that can matter."""
        return not file.sha256 or self._uploads.files.is_intact(name, listed)

    def _require_room(self, project: Project, file: CandidateFile) -> None:
        """Raise TooLarge if a quota has no room for a file together with those before it."""
        if self._uploads.quota_check is None:
            return
        for room in self._uploads.quota_check.for_files().rooms(project):
            sizes = [file.size]
            for name, entries in self._coming.items():
                if room.is_of_index or name == project.name:
                    sizes += [entry.size for entry in entries]
            refusal = room.refusal(size_of_files(sizes))
            if refusal is not None:
                raise refusal


def _digest_beside(file: CandidateFile, same_name: File) -> str:
    """Return the digest of a file to compare with that of a file with its name."""
    if file.sha256 and same_name.sha256:
        return file.sha256
    # nobody has computed one of them, and files of one name and size are most likely the same
    if file.size == same_name.size:
        return same_name.sha256
    return OTHER_CONTENT
