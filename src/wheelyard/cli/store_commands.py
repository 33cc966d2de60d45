"""`wheelyard usage`, `check`, `copy` and `export`: commands about a whole store."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import click
from click import Argument, Option
from msgspec.structs import asdict, replace

from wheelyard.api import usage_operations
from wheelyard.api.local_api import LocalApi
from wheelyard.catalog import keys
from wheelyard.cli import command_context, output, shared_options
from wheelyard.cli.command import cli_command
from wheelyard.cli.program import caution_text, this_terminal, warn_of
from wheelyard.cli.progress import Progress, show_progress
from wheelyard.cli.quantities import describe_size
from wheelyard.errors import Invalid, quoted
from wheelyard.exporting.site_folder import RequestedOptions
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.index_name import index_path, read_index_name
from wheelyard.operations.copying.credential_copy import UpstreamCopy
from wheelyard.operations.copying.store_copy import CopyReport, IndexCopies, StoreCopy
from wheelyard.operations.findings import Findings
from wheelyard.remedies import Caution
from wheelyard.settings import sections
from wheelyard.settings.value_checks import is_url
from wheelyard.storage.location import BUCKET_FORMS, is_bucket, parse_location
from wheelyard.wiring import stores
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.exporting.export import Export, ExportResult

    _Sites: TypeAlias = list[tuple[str, Export]]

LOCAL_THREADS: Final = 4
REMOTE_THREADS: Final = 16
"""Objects that are copied at a time."""


@cli_command(
    "usage",
    shared_options.JSON,
    shared_options.PACKAGES,
    examples=(
        "wheelyard usage",
        "wheelyard usage --json --index dev",
        "wheelyard usage --server https://packages.acme.dev",
    ),
    page="quotas.md",
)
def usage_command() -> int:
    """
    Print how much each private project stores, the largest first: bytes, files, name, quota.

    It counts the files that projects list, without their core metadata, and looks at no file. The
    projects of another index than main have its name before their own: dev/acme-lib. With a quota,
    the last column is how much of it is used. With a store, it reads the documents of projects that
    no server has looked at. The last line has what public packages take that are kept, with their
    core metadata, if there are any. The exit status is 1 if an index cannot be read.
    """
    api = command_context.open_api()
    if isinstance(api, LocalApi):
        for index in api.index.server.indexes.all():
            # built in this thread, so that the command waits for the table
            index.search.start = lambda refresh: refresh()
    usage = api.call(usage_operations.show_usage)
    output.print_result(usage, _usage_lines(usage))
    unread_count = sum(index.unread for index in (usage, *usage.indexes))
    if unread_count:
        output.warn(f"{counted(unread_count, 'project')} not looked at yet; ask again in a minute")
    problems = list[Caution]()
    for index_usage in (usage, *usage.indexes):
        if index_usage.problem is not None:
            problems.append(index_usage.problem)
    warn_of(problems)
    return int(bool(problems))


def _usage_lines(usage: usage_operations.Usage) -> Iterator[tuple[str, ...]]:
    indexes: list[usage_operations.IndexUsage] = [usage]
    indexes += usage.indexes
    for index in indexes:
        if index.problem is not None:
            continue
        name = read_index_name(index.index)
        path = index_path(name)
        of_index = f" of {name}" if path else ""
        for project in index.projects:
            yield _usage_line(project, f"{path}{project.name}")
        yield _usage_line(index, f"{counted(len(index.projects), 'project')}{of_index}")
        if index.kept_files:
            size = describe_size(index.kept_bytes)
            files = counted(index.kept_files, "file")
            yield size, files, f"deleted{of_index}, and can be restored"
    if usage.indexes:
        # less than the sum: a file that was promoted is listed twice and stored once
        size = describe_size(usage.stored_bytes)
        files = counted(usage.stored_files, "file")
        yield size, files, "stored for all indexes together"
    if usage.public_bytes:
        yield describe_size(usage.public_bytes), "public packages that are kept"


def _usage_line(
    usage: usage_operations.ProjectUsage | usage_operations.IndexUsage, name: str
) -> tuple[str, ...]:
    columns = [describe_size(usage.bytes), counted(usage.files, "file"), name]
    if usage.share is not None:
        columns.append(f"{usage.share:.0%} of its quota")
    return tuple(columns)


@cli_command(
    "check",
    Option(["--rebuild"], is_flag=True, help="Fold every journal again into its document."),
    Option(["--sweep"], is_flag=True, help="Remove what dead uploads and tokens left."),
    shared_options.OUTPUT,
    shared_options.STORE,
    examples=(
        "wheelyard check",
        "wheelyard check --sweep --json",
        "wheelyard check --store gs://acme-packages",
    ),
    page="store.md",
)
def check_command(*, rebuild: bool, sweep: bool) -> int:
    """
    Verify every byte, digest, link and document.

    What can be repaired without a backup is repaired. The exit status is 1 if something is damaged.
    """
    index = command_context.existing_index()
    with show_progress("check", is_size=True) as progress:
        findings = index.server.check.run(progress.advance_in, rebuild=rebuild, sweep=sweep)
    # escaped, as the name of a stray file may have control characters for the terminal
    escaped_texts = {
        "problems": [escaped(line) for line in findings.problems],
        "notes": [escaped(caution_text(note)) for note in findings.notes],
        "repaired": [escaped(line) for line in findings.repaired],
    }
    for line in escaped_texts["problems"]:
        click.echo(f"wheelyard: problem: {line}", err=True)
    result = dict[str, object]()
    for name, value in asdict(findings).items():
        # the word that the lines for people have, too
        key = "mended" if name == "repaired" else name
        result[key] = escaped_texts.get(name, value)
    output.print_result(result, _finding_lines(findings, rebuild=rebuild))
    return int(bool(findings.problems))


def _finding_lines(findings: Findings, *, rebuild: bool) -> Iterator[str]:
    for line in findings.repaired:
        yield f"mended: {line}"
    for note in findings.notes:
        yield f"note: {caution_text(note)}"
    if rebuild:
        yield f"rebuilt {counted(findings.rebuilt, 'document')} from journals"
    if findings.swept:
        yield f"swept {counted(findings.swept, 'leftover')}"
    verdict = counted(len(findings.problems), "problem") if findings.problems else "clean"
    projects = counted(findings.projects, "project")
    files = counted(findings.files, "file")
    yield f"{verdict}: {projects}, {files}, {counted(findings.size, 'byte')} read"


@cli_command(
    "copy",
    Argument(["source"], metavar="FROM", shell_complete=shared_options.complete_path),
    Argument(["target"], metavar="TO", shell_complete=shared_options.complete_path),
    Option(
        ["--with-credentials"],
        is_flag=True,
        help="Also the API tokens, as digests, and the grants of the store.",
    ),
    shared_options.OUTPUT,
    shared_options.CONFIG,
    examples=(
        "wheelyard copy ./wheelyard-data /mnt/backup/wheelyard",
        "wheelyard copy gs://acme-packages gs://acme-backup --with-credentials",
        "wheelyard copy --quiet gs://acme-packages/team ./copy",
    ),
    page="backup.md",
)
def copy_command(*, source: str, target: str, with_credentials: bool) -> int:
    """
    Copy the store FROM into the store TO.

    Each is a folder or a bucket. Only what TO lacks is written, and every digest is verified. FROM
    may be written meanwhile: what arrives is its state when the copy began. After an interruption,
    copy again.

    Files that were deleted in FROM stay in TO, unlisted, until 'wheelyard check --sweep' there. A
    project that was changed in TO is left alone, and the command fails. Lines of htpasswd files
    that are outdated in FROM are so in TO.
    """
    settings = command_context.command_settings()

    # checked as early as possible: the typed locations before a store is opened, and those of the
    # files and credentials of FROM before the target is made
    _require_apart([source], [target])
    opened_source = stores.open_copy_source(settings_for_store(settings, source))
    _require_apart(_all_locations(source, opened_source.traits), [target])
    target_index = command_context.ensure_index(settings_for_store(settings, target))
    command_context.warn_without_upstream(target_index)
    _require_apart(
        _all_locations(source, opened_source.traits),
        _all_locations(target, target_index.server.traits),
    )
    copy = _store_copy(settings, _comparable_location(source), opened_source, target_index)
    advice = "What was copied stays; copy again to go on from there."
    with output.resumable(advice), show_progress("copy", is_size=True) as progress:
        report = copy.run(progress.advance_in, with_credentials=with_credentials)
    _print_copy_problems(report, source)
    is_configured_store = _comparable_location(source) == _comparable_location(
        settings.store.location
    )
    if settings.access.credentials_store and not is_configured_store:
        output.warn(
            "access.credentials_store is of the store that the settings name, and FROM is another "
            "one: outdated lines of htpasswd files and credentials were looked for in FROM alone. "
            "If they are elsewhere, give the --config of the server of FROM."
        )
    if with_credentials and not any(opened_source.stores.credentials.list(keys.CREDENTIALS)):
        output.warn(
            "FROM has no token and no grant. If access.credentials_store names another place for "
            "them, give the --config of the server."
        )
    output.print_result(report, [_copy_summary(target, report, with_credentials=with_credentials)])
    return int(bool(report.problems))


def _print_copy_problems(report: CopyReport, source: str) -> None:
    """Print the problems and the warnings of a copy, which are escaped in the report, too."""
    report.problems = [escaped(problem) for problem in report.problems]
    for problem in report.problems:
        click.echo(f"wheelyard: not copied: {problem}", err=True)
    if report.problems:
        command = this_terminal().line(("check", "--store", source))
        output.warn(f"'{command}' says whether FROM is damaged, and what can be done about it")
    report.warnings = [escaped(warning) for warning in report.warnings]
    for warning in report.warnings:
        output.warn(warning)


def _store_copy(
    settings: sections.Settings, origin: str, opened_source: stores.CopySource, target_index: Index
) -> StoreCopy:
    """Return the copy of an opened store, which is at `origin`, into the store of an index."""
    is_local = opened_source.traits.is_local and target_index.server.is_local
    threads = LOCAL_THREADS if is_local else REMOTE_THREADS
    counter = target_index.server.traits.operation_counter
    upstream = stores.upstream_store(settings, target_index.stores, counter)
    upstream_copy: UpstreamCopy | None
    upstream_copy = UpstreamCopy(opened_source.upstream, upstream, target_index.server.retries)

    # not copied if what is known of upstream indexes is in a bucket of its own, which both share
    if settings.upstream.bucket:
        upstream_copy = None
    indexes = IndexCopies(
        records=target_index.catalog.index_records,
        source_changes=opened_source.changes_of,
        target=target_index.server.indexes.catalog_of,
    )
    return StoreCopy(
        source=opened_source.stores,
        source_changes=opened_source.changes,
        origin=origin,
        target=target_index.stores,
        target_clock=target_index.lifecycle.removal.clock,
        target_changes=target_index.changes,
        projects=target_index.projects,
        rights=target_index.catalog.credential_documents,
        decisions=target_index.server.decisions,
        upstream=upstream_copy,
        spool=target_index.server.spool,
        threads=threads,
        claims_names=settings.upstream.is_on,
        indexes=indexes,
    )


def _copy_summary(target: str, report: CopyReport, *, with_credentials: bool) -> str:
    moment = f" as of {report.moment:%Y-%m-%d %H:%M:%S} UTC" if report.moment else ""
    written = f"{counted(report.objects, 'object')} written, {report.size} bytes"
    further_counts = f", {counted(report.decisions, 'decision')}" if report.decisions else ""
    if report.upstream:
        further_counts += f", {counted(report.upstream, 'object')} about public names"
    credentials = ""
    if with_credentials:
        credentials = f", {counted(report.credentials, 'object')} of credentials"
    elif report.credentials:
        credentials = ", outdated lines of htpasswd files"
    changed = counted(report.changed, "name")  # not projects, as a released name counts, too
    return (
        f"{target}: {counted(report.projects, 'project')}{moment}, changes of {changed}; "
        f"{written}{further_counts}{credentials}"
    )


def settings_for_store(settings: sections.Settings, location: str) -> sections.Settings:
    """
    Return the settings for the store at a location.

    If this is another store than the configured one, settings about the store are left out: a copy
    must not write credentials to where the servers have theirs. Raises Invalid for a store in
    memory.
    """
    if location == sections.MEMORY_LOCATION:
        raise Invalid(
            "A store in memory is empty, and ends with the command. Name a folder or a bucket.",
            code="bad_setting",
        )
    if _comparable_location(location) == _comparable_location(settings.store.location):
        # only `public` is kept, as a copy has to write it into each object
        is_public = settings.store.downloads == "public"
        store = replace(settings.store, downloads="public" if is_public else "proxy")
        return replace(settings, store=store)
    access = replace(settings.access, credentials_store="")
    store = sections.StoreSettings(location=location, downloads="proxy")
    return replace(settings, store=store, access=access)


def _all_locations(location: str, traits: stores.StoreTraits) -> list[str]:
    """Return the locations of a store, of its files and of its credentials."""
    locations = [location]
    if traits.files_location:
        locations.append(traits.files_location)
    if traits.credentials_location:
        locations.append(traits.credentials_location)
    return locations


def _require_apart(sources: list[str], targets: list[str]) -> None:
    """Raise Invalid if a location of FROM and one of TO overlap, as a copy would read itself."""
    for source in sources:
        for target in targets:
            source_place = _comparable_location(source)
            target_place = _comparable_location(target)
            # as both end with a slash, `/srv/packages` is not taken for a part of `/srv/pack`
            if source_place.startswith(target_place) or target_place.startswith(source_place):
                raise Invalid(
                    f"{escaped(source)} of FROM and {escaped(target)} of TO are the same place, or "
                    "one is in the other. Name another place for TO.",
                    code="bad_setting",
                )


def _comparable_location(location: str) -> str:
    """Return a location in one spelling, with a slash at its end, or raise Invalid if empty."""
    if not location:
        raise Invalid(f"FROM or TO is empty. Name a folder, {BUCKET_FORMS}.", code="bad_setting")
    # resolved, as symbolic links may give one folder two names
    path = str(parse_location(location)) if is_bucket(location) else os.path.realpath(location)
    return f"{path.rstrip('/')}/"


@cli_command(
    "export",
    Argument(["dest"], metavar="DEST", shell_complete=shared_options.complete_path),
    Option(
        ["--files"],
        metavar="copy|URL",
        help="Copy distributions to the site, or leave them where URL serves them.",
    ),
    Option(["--base-url"], metavar="URL", help="What the site is served as."),
    Option(["--gzip/--no-gzip", "is_gzipped"], default=None, help="Compress pages, too."),
    Option(
        ["--all", "everything"], is_flag=True, help="Make every page again, over whatever is there."
    ),
    shared_options.OUTPUT,
    shared_options.STORE,
    examples=(
        "wheelyard export /srv/www/packages --base-url https://packages.example.com",
        "wheelyard export s3://acme-site",
        "wheelyard export site --all",
    ),
    page="static-site.md",
)
def export_command(
    *, dest: str, files: str | None, base_url: str | None, is_gzipped: bool | None, everything: bool
) -> int:
    """
    Write the index to DEST, a folder or a bucket, for any web server.

    Only what has changed since the last export is written. Options that are not given stay as they
    were then. With --all, every page is made again, which repairs a damaged site, and folders of
    indexes without packages that do not exist are deleted. Anyone who can read DEST can read
    everything in it.
    """
    if base_url:
        base_url = _checked_url(base_url, "--base-url")
    files_url = files
    if files == "copy":
        files_url = ""
    elif files:
        files_url = _checked_url(files, "--files")

    # None keeps what the last export of the site had, and an empty text takes it away
    requested = RequestedOptions(base_url=base_url, files_url=files_url, is_gzipped=is_gzipped)
    index = command_context.existing_index()
    if index.settings.store.location == sections.MEMORY_LOCATION:
        message = "A store in memory is empty, so there is nothing to export."
        raise Invalid(f"{message} Name another with --store.", code="bad_setting")
    sites = _open_exports(index, dest, requested)
    results = list["ExportResult"]()

    # checked before a site is written, as its pages link to the other sites; --all repairs a site
    if not everything:
        for _, export in sites:
            export.check_destination()
    _warn_if_private(sites, dest)
    for _, export in sites:
        with show_progress("export") as progress:
            results.append(export.run(progress.complete, everything=everything))
        if export.index.upstream is not None and not results[-1].options.has_public:
            output.warn("public packages are left out, as their files are not where --files says")
    status, result_json = _report_sites(sites, results)
    output.print_result(result_json)
    return status


def require_site(index: Index, dest: str) -> None:
    """
    Raise WheelyardError unless a site can be written to `dest`, and warn if the index is private.

    A folder that is missing is created.
    """
    sites = _open_exports(index, dest, RequestedOptions())
    for _, export in sites:
        export.check_destination()
    _warn_if_private(sites, dest)


def refresh(index: Index, dest: str) -> tuple[int, dict[str, object]]:
    """
    Bring a site up to date, print a summary, and return the exit status and the JSON.

    The status is 1 if a project could not be exported, whose error is printed. With the site of
    main, the sites of other indexes are brought up to date, too. Raises WheelyardError if the site
    cannot be written, or the store does not answer.
    """
    sites = _open_exports(index, dest, RequestedOptions())
    results = list["ExportResult"]()
    for _, export in sites:
        results.append(export.run(Progress().complete))
    return _report_sites(sites, results)


def _open_exports(index: Index, dest: str, requested: RequestedOptions) -> "_Sites":
    """
    Return the destination of each site, and its export.

    The site of main is DEST, in which the site of each other index is a folder. If another index is
    exported alone, its site is DEST.
    """
    # imported only here, as this loads the application, which `check` and `copy` do not need
    from wheelyard.exporting.export import open_export

    message = f"{escaped(dest)}: another export is writing this site; waiting for its end"
    sites: _Sites = []
    indexes = [index]
    if index.definition.is_main:
        indexes = list(index.server.indexes.all())
    for exported in indexes:
        segment = exported.definition.segment if exported.name != index.name else ""
        destination = dest
        options = requested
        if segment:
            destination = dest.rstrip("/") + segment
            if requested.base_url is not None:
                options = replace(requested, base_url=requested.base_url + segment)
        export = open_export(exported, destination, options, lambda: output.print_line(message))
        sites.append((destination, export))
    return sites


def _warn_if_private(sites: "_Sites", dest: str) -> None:
    """Warn of private indexes among the sites, as a site asks nobody for a credential."""
    private_names = [site.index.name for _, site in sites if not site.index.read_policy.is_public()]
    if private_names:
        names = " or ".join(private_names) if len(sites) > 1 else "this index"
        output.warn(
            f"reading {names} needs a credential, and a site asks for none: whoever can read "
            f"{dest} reads everything; let the web server there ask for a password"
        )


def _report_sites(
    sites: "_Sites", results: Sequence["ExportResult"]
) -> tuple[int, dict[str, object]]:
    """Print what was exported to each place, and return the exit status and the JSON."""
    if not results[0].options.base_url:
        output.warn("without --base-url, the URLs in /pypi/NAME/json begin at the root of the host")
    sites_json = list[dict[str, object]]()
    for (destination, _), result in zip(sites, results, strict=True):
        output.print_line(
            f"{escaped(destination)}: {counted(result.total, 'project')}, {result.projects} of "
            f"them exported anew, {counted(result.written, 'page')} written"
        )
        if result.removed:
            folders = ", ".join(f"{name}/" for name in result.removed)
            output.warn(f"deleted {folders} of the site: there is no such index any more")
        for warning in result.warnings:
            output.warn(warning)
        for message in result.failed:
            click.echo(f"wheelyard: {message}", err=True)
        sites_json.append(_site_json(destination, result))
    status = int(any(result.failed for result in results))

    # the first is the site of main or the only one, and the others are inside of it
    answer = sites_json[0]
    if len(sites_json) > 1:
        answer["indexes"] = sites_json[1:]
    return status, answer


def _site_json(dest: str, result: "ExportResult") -> dict[str, object]:
    return {
        "site": output.printable(dest),
        "projects": result.total,
        "exported": result.projects,
        "pages": result.written,
        "failed": result.failed,
    }


def _checked_url(text: str, option: str) -> str:
    """Return the URL of an option without a slash at its end, or raise Invalid if it is none."""
    if is_url(text):
        return text.rstrip("/")
    other_choice = "copy, or " if option == "--files" else ""
    raise Invalid(
        f"{option} {quoted(text)} is no address. Write {other_choice}a URL such as "
        "https://packages.example.com/files.",
        code="bad_setting",
    )
