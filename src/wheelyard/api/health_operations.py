"""Operations on the state of an index: what works, and which settings are in force."""

import platform
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct
from msgspec.json import encode

from wheelyard.api.operation import Call
from wheelyard.authentication.verifiers.reloading_file import ReloadingFile
from wheelyard.errors import Invalid, Unavailable, WheelyardError
from wheelyard.model.decoding import counted, escaped, readable_size
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_tables import NEVER_CHANGED
from wheelyard.operations.daily_sweep import EVERY, JOB
from wheelyard.operations.job_lease import last_completed
from wheelyard.operations.server_state import ServerState
from wheelyard.remedies import Caution
from wheelyard.settings.sections import Setting, Settings, all_settings
from wheelyard.wiring.index import Index
from wheelyard.wiring.warnings import server_warnings, tls_files

if TYPE_CHECKING:
    from wheelyard.upstream.indexes import UpstreamIndex

HEALTH: Final = "see the health of the server"
SETTINGS: Final = "see the settings"
"""What only administrators may do."""
SWEEP_WARNING: Final = 2 * EVERY
"""The age of the last sweep from which on a sweep seems to be missing."""

State = Literal["ok", "warning", "failed", "off"]


class HealthPart(Struct, frozen=True):
    """How one part of an index is."""

    name: str
    """The name of the part, such as `store`, or `upstream pypi`."""
    state: State
    text: str
    """How the part is, in a sentence or a few."""


class Health(Struct, frozen=True):
    """How an index is, as the process that answers sees it."""

    version: str
    """The version of wheelyard."""
    started: datetime | None
    """When the process has started, or None in a command."""
    parts: tuple[HealthPart, ...]
    warnings: tuple[Caution, ...]
    """Warnings about the settings, with what to do, as `serve` prints them at its start."""


def show_health(call: Call) -> Health:
    """
    Show how the server is: store, upstream indexes, files of credentials, queues, warnings.

    A part that does not work is no error, and told in the answer. Files of credentials are read
    again if they have changed, so that their new content is in force from then on. The size of the
    public packages that are kept is counted by their keys, at most every ten minutes.
    """
    index = call.index
    started_at: datetime | None = None
    if index.server.state is not None:
        started_at = index.server.state.started_at
    return Health(
        version=version("wheelyard"),
        started=started_at,
        parts=tuple(_parts(index)),
        warnings=setting_warnings(index),
    )


def setting_warnings(index: Index) -> tuple[Caution, ...]:
    """Return the warnings about the settings, each once."""
    return tuple(dict.fromkeys(server_warnings(index)))


def _parts(index: Index) -> Iterator[HealthPart]:
    """Yield the parts in the order in which the page has them."""
    yield _server_part(index)
    yield from _store_parts(index)
    yield from _index_parts(index)
    if index.settings.server.daily_retention and not index.settings.server.read_only:
        yield from _retention_parts(index)
    yield from _file_parts(index)
    if index.server.state is not None:
        yield _queues_part(index.server.state)
    if index.upstream is not None:
        yield from _upstream_parts(index.upstream)
    yield from _public_files_parts(index)
    yield from _attestation_parts(index)
    yield from _namespace_parts(index)
    yield from _webhook_parts(index)
    for certificate in tls_files(index.settings):
        text = f"Valid until {certificate.value.expires:%Y-%m-%d %H:%M} UTC."
        state: State = "warning" if certificate.warnings else "ok"
        yield HealthPart("certificate", state, text)
    for file in index.authenticator.files:
        yield _credential_file_part(file)


def _credential_file_part(file: ReloadingFile[Any]) -> HealthPart:
    """Return whether a file of credentials is in force as it is now."""
    # reads the file if it has changed, as no request may have used it for long
    file.current()
    name = escaped(str(file.path))
    if file.fault:
        return HealthPart(name, "failed", f"{file.fault} What it said before is in force.")
    if file.warnings:
        return HealthPart(name, "warning", "It is in force, and there are warnings about it.")
    return HealthPart(name, "ok", "It is in force as it is.")


def _attestation_parts(index: Index) -> Iterator[HealthPart]:
    """Yield how many attestations were lost, and by which keys attestations are verified."""
    verifier = index.server.attestation_verifier
    lost = 0
    for built in index.server.indexes.built():
        # projects that this process has not read yet are left out, and not read for this
        for project in built.search.in_memory.projects:
            lost += project.lost_attestations
    if lost:
        files = counted(lost, "file")
        text = (
            f"{files} came with attestations that were not kept. Clients do not show that to "
            "whoever has sent them."
        )
        yield HealthPart("attestations", "warning", text)
    if verifier is None:
        return
    try:
        newest = verifier.newest_key()
    except Invalid as fault:
        yield HealthPart("attestations", "failed", fault.message)
        return
    title = escaped(verifier.title)
    text = f"They are compared with {title}, whose newest key is of {newest:%Y-%m-%d}."
    yield HealthPart("attestations", "ok", text)


def _namespace_parts(index: Index) -> Iterator[HealthPart]:
    """Yield a part if there are granted namespaces, or the namespaces cannot be read."""
    try:
        in_force = index.server.namespaces.load()
    except Unavailable as fault:
        text = (
            f"{fault.message} Until then no new project is taken, and no public one is looked up."
        )
        yield HealthPart("namespaces", "failed", text)
        return
    granted = [namespace for namespace in in_force.all if namespace.since is not None]
    if granted:
        yield HealthPart("namespaces", "ok", f"{counted(len(granted), 'namespace')} in force.")


def _webhook_parts(index: Index) -> Iterator[HealthPart]:
    """Yield a part for each webhook: whether messages to it arrive."""
    webhooks = index.server.webhooks
    try:
        rows = webhooks.show()
    except Unavailable as fault:
        yield HealthPart("webhooks", "failed", f"They are told of nothing. {fault.message}")
        return
    for row in rows:
        name = f"webhook {row.name}"
        # the keys are wrong, so that it is not known where to send a message
        if row.problem:
            yield HealthPart(name, "failed", f"It is told of nothing. {row.problem}")
            continue
        try:
            state = webhooks.states.read_stored(row.name, row.created or NEVER_CHANGED)
        except Unavailable as fault:
            yield HealthPart(name, "failed", f"It is told of nothing. {fault.message}")
            continue
        failing = [journal for journal in state.waiting.values() if journal.error]
        if failing or state.dead:
            projects = counted(len(failing), "project")
            messages = counted(len(state.dead), "message")
            text = (
                f"{projects} wait for another try, and {messages} were given up. Its page says why."
            )
            yield HealthPart(name, "warning", text)
        else:
            yield HealthPart(name, "ok", "All messages have arrived.")


def _server_part(index: Index) -> HealthPart:
    """Return which program runs here, and whether the server takes changes."""
    text = f"wheelyard {version('wheelyard')} on Python {platform.python_version()}"
    if index.server.state is not None:
        started = f"{index.server.state.started_at:%Y-%m-%d %H:%M} UTC"
        workers = counted(index.settings.server.workers, "worker")
        text = f"{text}, {workers}; this one has started on {started}"
    if index.settings.server.read_only:
        return HealthPart("server", "warning", f"{text}. It is read-only: it takes no changes.")
    return HealthPart("server", "ok", f"{text}.")


def _store_parts(index: Index) -> Iterator[HealthPart]:
    """Yield whether the store answers and takes writes, and when leftovers were last removed."""
    # read past all caches, so that the answer is one of the store
    try:
        index.projects.names.get_current()
        swept_at = last_completed(index.stores.documents, JOB)
    except Unavailable as fault:
        place = escaped(index.settings.store.location)
        yield HealthPart("store", "failed", f"{place}: {fault.message}")
        return
    yield _answering_store_part(index)
    if not index.settings.server.read_only:
        yield _sweep_part(index, swept_at)


def _answering_store_part(index: Index) -> HealthPart:
    """Return whether a store that answers takes writes, and was not replaced by an older copy."""
    place = escaped(index.settings.store.location)
    vanished = [built.projects.vanished for built in index.server.indexes.built()]
    noticed = [projects.since for projects in vanished if projects.since is not None]
    failure = ""
    if index.server.state is not None:
        failure = index.server.state.write_failure()
    if failure:
        fact = "No write has succeeded since the server was started"
        return HealthPart("store", "failed", f"{place}: {fact}. {failure}")
    if noticed:
        count = sum(len(projects.projects) for projects in vanished)
        text = (
            f"{place} was replaced by an older copy while this process ran: it knows nothing of "
            f"{counted(count, 'project')} that this process has read, which was "
            f"noticed on {min(noticed):%Y-%m-%d %H:%M} UTC; the log has the names. What the copy "
            "has is served. Check the store, publish again what is missing, and restart the "
            "server; if nobody meant to replace it, put the newer store back."
        )
        return HealthPart("store", "warning", text)
    return HealthPart("store", "ok", f"{place} answers.")


def _sweep_part(index: Index, swept_at: datetime | None) -> HealthPart:
    """Return when leftovers were last removed from the store, or that they never were."""
    last_sweep = "Never swept yet"
    state: State = "ok"
    if swept_at is not None:
        last_sweep = f"Leftovers were swept last on {swept_at:%Y-%m-%d %H:%M} UTC"
        if index.server.runtime.now() - swept_at > SWEEP_WARNING:
            state = "warning"
    return HealthPart("sweep", state, f"{last_sweep}; one server does that each day.")


def _index_parts(index: Index) -> Iterator[HealthPart]:
    """Yield whether each index is served, of main only that its definition is wrong."""
    try:
        in_force = index.server.definitions.load()
    except Unavailable as fault:
        yield HealthPart("indexes", "failed", fault.message)
        return
    if MAIN in in_force.problems:
        yield HealthPart("index main", "failed", in_force.problems[MAIN])
    for name in sorted(in_force.names):
        problem = in_force.problems.get(name, "") or _unreadable_names_reason(index, name)
        if problem:
            yield HealthPart(f"index {name}", "failed", problem)
        else:
            text = f"It is served below {index.settings.server.public_path}/{name}/."
            yield HealthPart(f"index {name}", "ok", text)


def _unreadable_names_reason(index: Index, name: str) -> str:
    """Return why the list of names of an index cannot be read, or an empty text."""
    try:
        index.named(name).projects.names.get_current()
    except Unavailable as fault:
        return fault.message
    return ""


def _retention_parts(index: Index) -> Iterator[HealthPart]:
    """Yield when rules last deleted releases, or will do so first, if there is a rule."""
    # nothing of retention/ is loaded without the setting
    from wheelyard.retention.daily import DAILY, first_run_text  # noqa: PLC0415

    try:
        retention = index.server.retention
        if retention is None:
            return
        first_run = retention.rules_record.read_first_run()
        completed_at = retention.last_run()
        text = "No run yet."
        if completed_at is not None:
            text = f"The last run was complete on {completed_at:%Y-%m-%d %H:%M} UTC."
        state: State = "ok"
        if first_run is not None and first_run > retention.clock.estimate():
            text = first_run_text(first_run, len(retention.preview(DAILY).deleted))
            state = "warning"
        yield HealthPart("retention", state, text)
    except WheelyardError as fault:
        yield HealthPart("retention", "failed", fault.message)


def _file_parts(index: Index) -> Iterator[HealthPart]:
    """Yield how the store differs from each file that the server was started with."""
    if index.server.applied_files is None:
        return
    try:
        for drift in index.server.applied_files.drifts():
            state: State = "warning" if drift.differences else "ok"
            yield HealthPart(f"file {escaped(drift.source)}", state, drift.text)
    except WheelyardError as fault:
        yield HealthPart("files", "failed", fault.message)


def _queues_part(server: ServerState) -> HealthPart:
    """Return how many pieces of each kind of work are under way, and how many wait."""
    texts = list[str]()
    state: State = "ok"
    for queue in server.queues:
        text = f"{queue.work}: {queue.running} under way"
        if queue.waiting:
            text += f", {queue.waiting} wait"
            state = "warning"
        texts.append(text)
    return HealthPart("queues", state, f"{'; '.join(texts)}.".capitalize())


def _upstream_parts(upstream: "UpstreamIndex") -> Iterator[HealthPart]:
    """Yield whether upstream indexes answer, and how old the database of advisories is."""
    if upstream.config.offline:
        text = "upstream.offline is set: no connection is opened, and the store is served."
        yield HealthPart("upstream", "off", text)
    else:
        yield from _upstream_server_parts(upstream)
    osv = upstream.policy.osv
    if osv is not None:
        entries = f"{osv.in_force.entries} usable entries"
        # not negative: the clock of the server that has made the database may be ahead of ours
        seconds = max(upstream.runtime.seconds() - osv.in_force.modified_at, 0)
        age = timedelta(seconds=seconds)
        state: State = "failed" if osv.error else "ok"
        yield HealthPart("advisories", state, f"{entries}, {counted(age.days, 'day')} old.")


def _upstream_server_parts(upstream: "UpstreamIndex") -> Iterator[HealthPart]:
    """Yield a part for each upstream index: whether it has answered the last request."""
    for server in upstream.config.servers:
        latest = upstream.observation.latest.get(server.label)
        name = f"upstream {server.label}"
        if latest is None:
            yield HealthPart(name, "ok", "This process has not asked it yet.")
            continue
        asked_at = f"{latest.at:%Y-%m-%d %H:%M:%S} UTC"
        if latest.is_answered:
            yield HealthPart(name, "ok", f"It has answered on {asked_at}.")
        else:
            reason = latest.why or "no usable answer"
            text = f"It has not answered on {asked_at}: {reason}."
            yield HealthPart(name, "failed", f"{text} Pages and files that are kept are served.")


def _public_files_parts(index: Index) -> Iterator[HealthPart]:
    """Yield the size of the public packages that are kept, if there are any."""
    name = "public files"
    # counted at most every ten minutes, as this lists the keys of all kept files
    try:
        counted_size = index.server.kept_size.latest()
    except WheelyardError as error:
        yield HealthPart(name, "failed", error.message)
        return
    if counted_size.bytes or index.upstream is not None:
        size = readable_size(counted_size.bytes)
        counted_at = f"{counted_size.at:%Y-%m-%d %H:%M} UTC"
        yield HealthPart(name, "ok", f"Public packages that are kept took {size} on {counted_at}.")


class SettingInForce(Struct, frozen=True):
    """A setting, and where its value comes from."""

    name: str
    value: str
    """
    The value as JSON, for tables the number of tables, or for a secret that is set `(not shown)`.
    """
    source: str
    """The file, variable or option that has set the value, or an empty text for a default."""
    is_default: bool
    """Whether the value is the default."""


class SettingList(Struct, frozen=True):
    """All settings, in the order of their documentation."""

    settings: tuple[SettingInForce, ...]


def show_settings(call: Call) -> SettingList:
    """Show the settings in force, without secrets, and where each comes from."""
    index = call.index
    in_force = list[SettingInForce]()
    for path, setting in all_settings().items():
        listed = SettingInForce(
            name=setting.name,
            value=_text_of_value(setting, index.settings),
            source=index.server.sources.get(path, ""),
            is_default=setting.value_in(index.settings) == setting.default,
        )
        in_force.append(listed)
    return SettingList(tuple(in_force))


def _text_of_value(setting: Setting, settings: Settings) -> str:
    """Return the value of a setting as JSON, or words in place of tables and of a secret."""
    value = setting.value_in(settings)
    if setting.is_table:
        return counted(len(value), "table")
    # that a secret is set may be known, and helps people who look for a mistake
    if setting.is_secret and value:
        return "(not shown)"
    return encode(value).decode()
