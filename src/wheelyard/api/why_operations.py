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
    """The day at whose end (UTC) the index is looked at; without it, as it is now."""


def explain_project(call: Call, body: WhyQuestion) -> Explanation:
    """
    Tell what clients get for a project of an index, and why not the rest.

    Raises Invalid if the name or the version is malformed. Raises as
    `ReadPolicy.require_project_read` if the caller may not know about the name. Raises NotFound if
    nobody has the project, and there is no upstream index.
    """
    with naming_alternatives(call.index):
        explanation = _explain(call, body)
    if any(file.shown for file in explanation.files):
        return explanation
    return replace(explanation, other_indexes=call.index.alternatives)


def _explain(call: Call, body: WhyQuestion) -> Explanation:
    name, version = body.parsed
    index = call.index.as_of(body.as_of) if body.as_of else call.index
    index.read_policy.require_lookup(call.caller, name)
    explanation = Explanation(name=name, answer=NameAnswer.PRIVATE)
    if index.upstream is not None:
        may_read = call.caller.may(Action.READ, name)
        explanation = index.upstream.explain(name, version, may_read=may_read)
    if not explanation.is_about_public_package:  # nobody learns if a name is private or unknown
        index.read_policy.require_project_read(call.caller, name)
    if explanation.answer is NameAnswer.PRIVATE:
        return _private(index, explanation, version)
    return _filtered(index, explanation)


def _private(index: Index, explanation: Explanation, version: Version | None) -> Explanation:
    """Return the explanation of a private name with its files, as the layers have them."""
    answer = index.repository.find(explanation.name)
    if not answer.projects and index.upstream is None:
        raise project_not_found(explanation.name)
    reasons = (*explanation.reasons, *_of_layers(index, explanation.name, answer))
    of_project: tuple[FileReason, ...] = ()
    if answer.projects:
        of_project = _of_status(answer.projects[0])
    files = dict[str, ExplainedFile]()
    withheld = dict[str, FileReason]()
    for source in answer.projects:
        why = of_project or _of_status(source)
        shown = ((file, why) for file in source.project.files)
        hidden = ((file, (*why, reason)) for file, reason in source.hidden.values())
        for file, against in (*shown, *hidden):
            if version is None or _key(file.version) == _key(str(version)):
                before = (withheld[file.filename],) if file.filename in withheld else ()
                explained = _explained(file, (*before, *against))
                files.setdefault(file.filename, explained)
                if explained.shown:  # another layer shows it
                    files[file.filename] = explained
        layer = f"The index {source.index}"
        reason = FileReason("deleted", f"{layer} has deleted it.")
        withheld |= dict.fromkeys(source.project.deleted_filenames, reason)
        status = source.project.status
        if not status.serves_files:
            reason = FileReason("status", f"{layer} has it, and the project is {status} there.")
            withheld |= dict.fromkeys(source.project.by_filename, reason)
    ordered = tuple(files[filename] for filename in sorted(files))
    return replace(explanation, reasons=reasons, files=ordered)


def _of_layers(index: Index, name: NormalizedName, answer: ProjectSources) -> Iterator[FileReason]:
    """Yield which layers a private project is from, and which others have it, too."""
    sources = [source.index for source in answer.projects]
    for source in sources:
        if source != index.name:
            text = f"It is from the index {source}, a layer of {index.name}."
            yield FileReason("layer", text)
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


def _explained(file: File, why: tuple[FileReason, ...]) -> ExplainedFile:
    at = file.promoted_at or file.uploaded_at
    return ExplainedFile(file.filename, file.version, not why, why, at, file.sha256)


def _key(version: str) -> str:
    return strip_trailing_zeros(version)


def _filtered(index: Index, explanation: Explanation) -> Explanation:
    """Return the explanation of a public project with what the rules of indexes hide."""
    hidden = dict[str, FileReason]()
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
    shown = repository.filtered(listings)
    if not shown:
        return
    # no private name needs it
    from wheelyard.upstream.merged_listing import merged_listing  # noqa: PLC0415

    for filename, reason in merged_listing(shown).hidden.items():
        if reason.code == HIDDEN_BY_VIEW:
            yield filename, reason
