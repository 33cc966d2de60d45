"""
The operation that tells what clients get for a project of an index, and why not the rest.

It raises Unavailable if the store does not answer, or a document that it needs is damaged.
"""

from collections.abc import Iterator
from datetime import date

from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api.operation import Call, naming_alternatives
from wheelyard.api.public_package_operations import PackageQuestion
from wheelyard.authentication.authorization import project_not_found
from wheelyard.model.access import Action
from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.project import File
from wheelyard.model.public_packages import (
    HIDDEN_BY_VIEW,
    ExplainedFile,
    Explanation,
    FileReason,
    NameAnswer,
)
from wheelyard.repository.found_project import FoundProject
from wheelyard.repository.index_repository import ProjectSources
from wheelyard.wiring.index import Index


class WhyQuestion(PackageQuestion, frozen=True):
    """The question what clients get, and perhaps on which day."""

    as_of: date | None = None
    """The day at whose end (UTC) the index is looked at. Without it, as it is now."""


def explain_project(call: Call, body: WhyQuestion) -> Explanation:
    """
    Tell what clients get for a project of an index, and why not the rest.

    If nothing of it is shown, main names the other indexes. An upstream index may be asked. What is
    fetched is stored, and the first use of an exception from the cooldown is written.

    Raises Invalid if the name or the version is malformed, or (code `bad_setting`) no database of
    advisories can be used. Raises Unauthenticated, Forbidden or NotFound if the caller may not know
    about the name. Raises NotFound if nobody has the project and there is no upstream index, or if
    the day has not begun. Raises Unavailable if metadata or a provenance cannot be had now.
    """
    with naming_alternatives(call.index):
        explanation = _explain(call, body)
    if any(file.shown for file in explanation.files):
        return explanation
    return replace(explanation, other_indexes=call.index.alternatives)


def _explain(call: Call, body: WhyQuestion) -> Explanation:
    """Return what clients get for a project, as far as the caller may know about it."""
    name, version = body.parsed
    index = call.index
    if body.as_of is not None:
        index = index.as_of(body.as_of)
    index.read_policy.require_lookup(call.caller, name)
    explanation = Explanation(name=name, answer=NameAnswer.PRIVATE)
    if index.upstream is not None:
        may_read = call.caller.may(Action.READ, name)
        explanation = index.upstream.explain(name, version, may_read=may_read)
    # nobody learns whether a name is private or unknown
    if not explanation.is_about_public_package:
        index.read_policy.require_project_read(call.caller, name)
    if explanation.answer is NameAnswer.PRIVATE:
        return _private(index, explanation, version)
    return _filtered(index, explanation)


def _private(index: Index, explanation: Explanation, version: Version | None) -> Explanation:
    """Return the explanation of a private name with its files, as the layers have them."""
    answer = index.repository.find(explanation.name)
    if not answer.projects and index.upstream is None:
        raise project_not_found(explanation.name)
    reasons = list(explanation.reasons)
    reasons += _of_layers(index, explanation.name, answer)
    files = _LayeredFiles(version)
    status_of_first: tuple[FileReason, ...] = ()
    if answer.projects:
        status_of_first = _of_status(answer.projects[0])
    for source in answer.projects:
        # the status of the first layer that has the project is that of the project
        files.add_layer(source, status_of_first or _of_status(source))
    return replace(explanation, reasons=tuple(reasons), files=files.by_name())


class _LayeredFiles:
    """
    The files of a private project, explained as one layer after the other adds its own.

    A layer that does not serve a file any more withholds it from the layers behind it. A file that
    several layers have is explained as the first of them has it, unless one shows it.
    """

    def __init__(self, version: Version | None) -> None:
        self._version = None if version is None else strip_trailing_zeros(str(version))
        """The version that is asked about, or None for all."""
        self._files = dict[str, ExplainedFile]()
        self._withheld = dict[str, FileReason]()
        """Why layers so far withhold files, by filename."""

    def add_layer(self, source: FoundProject, status: tuple[FileReason, ...]) -> None:
        """Add the files of a layer, of which none is served for these reasons, if there are any."""
        for file in source.project.files:
            self._add(file, status)
        for file, reason in source.hidden.values():
            self._add(file, (*status, reason))
        self._withhold_behind(source)

    def by_name(self) -> tuple[ExplainedFile, ...]:
        """Return the files, sorted by name."""
        return tuple(self._files[filename] for filename in sorted(self._files))

    def _add(self, file: File, reasons: tuple[FileReason, ...]) -> None:
        """Add a file that a layer has, and does not serve for these reasons, if there are any."""
        if self._version not in {None, strip_trailing_zeros(file.version)}:
            return
        withheld = self._withheld.get(file.filename)
        if withheld is not None:
            reasons = (withheld, *reasons)
        at = file.promoted_at or file.uploaded_at
        explained = ExplainedFile(
            file.filename, file.version, not reasons, reasons, at, file.sha256
        )
        if explained.shown or file.filename not in self._files:
            self._files[file.filename] = explained

    def _withhold_behind(self, source: FoundProject) -> None:
        """Note which files a layer withholds from those behind it."""
        project = source.project
        layer = f"The index {source.index}"
        deleted = FileReason("deleted", f"{layer} has deleted it.")
        for filename in project.deleted_filenames:
            self._withheld[filename] = deleted
        if project.status.serves_files:
            return
        text = f"{layer} has it, and the project is {project.status} there."
        for filename in project.by_filename:
            self._withheld[filename] = FileReason("status", text)


def _of_layers(index: Index, name: NormalizedName, answer: ProjectSources) -> Iterator[FileReason]:
    """Yield which layers a private project is from, and which others have it, too."""
    sources = [source.index for source in answer.projects]
    for source in sources:
        if source != index.name:
            text = f"It is from the index {source}, a layer of {index.name}."
            yield FileReason("layer", text)
    # a read of the store for each layer that the answer does not come from
    for own in index.repository.own_packages():
        if sources and own.name not in sources and own.projects.load(name).value is not None:
            text = "has it, too. The first layer that has a name hides the others."
            if index.definition.day is not None:
                text = "has it now, and did not on that day, or a layer before hides it."
            yield FileReason("layer", f"The index {own.name} {text}")


def _of_status(source: FoundProject) -> tuple[FileReason, ...]:
    """Return why no file of a layer is served, if its project has such a status."""
    status = source.project.status
    if status.serves_files:
        return ()
    return (FileReason("status", f"The project is {status}."),)


def _filtered(index: Index, explanation: Explanation) -> Explanation:
    """Return the explanation of a public project with what the rules of indexes hide."""
    hidden = dict[str, FileReason]()
    # the first look may read licences of wheels, which nobody needs for a name without files
    if explanation.files:
        hidden.update(_hidden_by_rules(index, explanation.name))
    files = list[ExplainedFile]()
    for file in explanation.files:
        if file.filename in hidden:
            reasons = (*file.reasons, hidden[file.filename])
            files.append(replace(file, shown=False, reasons=reasons))
        else:
            files.append(file)
    return replace(explanation, files=tuple(files))


def _hidden_by_rules(index: Index, name: NormalizedName) -> Iterator[tuple[str, FileReason]]:
    """Yield which files of a public project the rules of indexes hide, as from an installer."""
    repository = index.repository
    if index.upstream is None or not repository.hides_files:
        return
    listings = index.upstream.read_stored(name)
    for listing in listings:
        repository.look_up_licences(listing)
    filtered = repository.filter_public(listings)
    if not filtered:
        return
    # no private name needs it
    from wheelyard.upstream.merged_listing import merged_listing  # noqa: PLC0415

    for filename, reason in merged_listing(filtered).hidden.items():
        if reason.code == HIDDEN_BY_VIEW:
            yield filename, reason
