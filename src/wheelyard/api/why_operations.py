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
    """
    The day at whose end (UTC) the index is looked at. Without a day, the index is looked at as it
    is now.
    """


def explain_project(call: Call, body: WhyQuestion) -> Explanation:
    """
    Tell what clients get for a project of an index, and why not the rest.

    If no file is shown, the answer of main names the other indexes. An upstream index may be asked.
    A fetched page is stored, and the first use of an exception from the cooldown is written.

    Raises Invalid if the name or the version is malformed, or (code `bad_setting`) no database of
    advisories can be used. Raises Unauthenticated, Forbidden or NotFound if the caller may not know
    about the name. Raises NotFound if nobody has the project and there is no upstream index, or if
    the day has not begun. Raises Unavailable if metadata or a provenance cannot be had now.
    """
    with naming_alternatives(call.index):
        explanation = _explain_to_caller(call, body)
    if any(file.shown for file in explanation.files):
        return explanation
    return replace(explanation, other_indexes=call.index.alternatives)


def _explain_to_caller(call: Call, body: WhyQuestion) -> Explanation:
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
        return _explain_private(index, explanation, version)
    return _apply_index_rules(index, explanation)


def _explain_private(
    index: Index, explanation: Explanation, version: Version | None
) -> Explanation:
    """
    Return the explanation of a private name with its files, as the layers have them.

    Raises NotFound if no layer has the project, and there is no upstream index.
    """
    sources = index.repository.find(explanation.name)
    if not sources.projects and index.upstream is None:
        raise project_not_found(explanation.name)
    reasons = list(explanation.reasons)
    reasons += _layer_reasons(index, explanation.name, sources)
    files = _LayeredFiles(version)
    first_status: tuple[FileReason, ...] = ()
    if sources.projects:
        first_status = _status_reasons(sources.projects[0])
    for source in sources.projects:
        # a status of the first layer that has the project counts for the other layers, too
        files.add_layer(source, first_status or _status_reasons(source))
    return replace(explanation, reasons=tuple(reasons), files=files.by_name())


class _LayeredFiles:
    """
    The explained files of a private project, to which one layer after the other is added.

    A layer that does not serve a file any more withholds this file from the layers behind it. A
    file of several layers is explained as in the first layer that shows it, which serves it, or if
    none shows it, as in the first layer that has it.
    """

    def __init__(self, version: Version | None) -> None:
        self._version = None if version is None else strip_trailing_zeros(str(version))
        """The version that the question is about, or None for all versions."""
        self._files = dict[str, ExplainedFile]()
        self._withheld_reasons = dict[str, FileReason]()
        """Why the layers that were added withhold files, by filename."""

    def add_layer(self, source: FoundProject, status: tuple[FileReason, ...]) -> None:
        """Add the files of a layer. If `status` has reasons, the layer serves none of its files."""
        for file in source.project.files:
            self._add(file, status)
        for file, reason in source.hidden.values():
            self._add(file, (*status, reason))
        self._withhold_behind(source)

    def by_name(self) -> tuple[ExplainedFile, ...]:
        """Return the files, sorted by name."""
        return tuple(self._files[filename] for filename in sorted(self._files))

    def _add(self, file: File, reasons: tuple[FileReason, ...]) -> None:
        """Add a file of a layer. If there are reasons, the layer does not serve the file."""
        if self._version not in {None, strip_trailing_zeros(file.version)}:
            return
        withheld_reason = self._withheld_reasons.get(file.filename)
        if withheld_reason is not None:
            reasons = (withheld_reason, *reasons)
        added_at = file.promoted_at or file.uploaded_at
        explained = ExplainedFile(
            file.filename, file.version, not reasons, reasons, added_at, file.sha256
        )
        first_explained = self._files.get(file.filename)
        if first_explained is None or (explained.shown and not first_explained.shown):
            self._files[file.filename] = explained

    def _withhold_behind(self, source: FoundProject) -> None:
        """Note which files a layer withholds from the layers behind it."""
        project = source.project
        layer = f"The index {source.index}"
        deleted = FileReason("deleted", f"{layer} has deleted it.")
        for filename in project.deleted_filenames:
            self._withheld_reasons[filename] = deleted
        if project.status.serves_files:
            return
        text = f"{layer} has it, and the project is {project.status} there."
        for filename in project.by_filename:
            self._withheld_reasons[filename] = FileReason("status", text)


def _layer_reasons(
    index: Index, name: NormalizedName, project_sources: ProjectSources
) -> Iterator[FileReason]:
    """Yield which layers show a private project, and which other layers have it, too."""
    shown_indexes = [source.index for source in project_sources.projects]
    for source in shown_indexes:
        if source != index.name:
            fact = f"It is from the index {source}, a layer of {index.name}."
            yield FileReason("layer", fact)
    for layer in index.repository.own_packages():
        if not shown_indexes or layer.name in shown_indexes:
            continue
        # a read of the store for each layer that does not show the project
        if layer.projects.load(name).value is None:
            continue
        fact = "has it, too. The first layer that has a name hides the others."
        if index.definition.day is not None:
            fact = "has it now, and did not on that day, or a layer before hides it."
        yield FileReason("layer", f"The index {layer.name} {fact}")


def _status_reasons(source: FoundProject) -> tuple[FileReason, ...]:
    """Return the reason by which the project's status withholds all files of a layer, or none."""
    status = source.project.status
    if status.serves_files:
        return ()
    return (FileReason("status", f"The project is {status}."),)


def _apply_index_rules(index: Index, explanation: Explanation) -> Explanation:
    """Return the explanation of a public project in which rules of indexes hide files, too."""
    hidden = dict[str, FileReason]()
    # not asked without files, as the rules may have to read licences from wheels
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
    """Yield the files of a public project that rules of indexes hide, each with the reason."""
    repository = index.repository
    if index.upstream is None or not repository.hides_files:
        return
    listings = index.upstream.read_stored(name)
    for listing in listings:
        repository.look_up_licences(listing)
    filtered = repository.filter_public(listings)
    if not filtered:
        return
    # nothing of upstream/ is loaded for a private name
    from wheelyard.upstream.merged_listing import merged_listing  # noqa: PLC0415

    for filename, reason in merged_listing(filtered).hidden.items():
        if reason.code == HIDDEN_BY_VIEW:
            yield filename, reason
