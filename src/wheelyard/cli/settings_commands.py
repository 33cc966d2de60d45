"""`wheelyard config`, `health`, `print-settings` and `doctor`: of the index, and its clients."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
from click import Argument, Option
from msgspec.json import encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.api.health_operations import show_health, show_settings
from wheelyard.api.project_operations import ClientProjectsQuery, client_projects
from wheelyard.api.table import LocalApi
from wheelyard.api_client import TOKEN_VARIABLE
from wheelyard.catalog import keys
from wheelyard.cli.options import (
    INDEX,
    PACKAGES,
    STORE,
    command_settings,
    existing_index,
    loaded_settings,
    local_api,
    open_api,
    remote_api,
    with_index,
)
from wheelyard.cli.output import (
    JSON,
    CliGroup,
    cli_command,
    given_option,
    print_line,
    print_result,
    printable,
    warn,
)
from wheelyard.doctor.examination import CheckOutcome, Finding, examination, without_secrets
from wheelyard.doctor.installed_clients import Machine
from wheelyard.errors import Invalid, WheelyardError, quoted
from wheelyard.http.instrumentation import require_telemetry
from wheelyard.model.access import describe_scope
from wheelyard.model.decoding import escaped, redact_tokens
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import describe_grant
from wheelyard.rendering.client_settings import CLIENTS, INSTALLERS, ClientSettings
from wheelyard.settings.load import LoadedSettings, process_environment
from wheelyard.settings.sections import (
    MEMORY_LOCATION,
    Settings,
    all_settings,
    require_sign_in_secrets,
)
from wheelyard.storage.location import is_bucket
from wheelyard.wiring.build import Index, index_without_store, open_index
from wheelyard.wiring.stores import bucket_errors, has_store, require_places, system_runtime
from wheelyard.wiring.warnings import ask_providers, settings_warnings, tls_files

OTHER_CODES: Final = frozenset({"storage_credentials", "storage_unavailable", "overloaded"})
"""Codes of errors that do not show whether a permission is missing."""


@click.group("config", cls=CliGroup)
def config_command() -> None:
    """
    Check the settings, and print those in force.

    Documentation: settings.md
    """


@config_command.subcommand("check", *STORE)
def check() -> None:
    """
    Check the settings and every file that they name, and print those in force.

    Exit 1 if a setting is wrong, if a file of passwords or tokens is missing, if no store can be
    made in a folder, or if a bucket refuses an operation that the index needs. These operations are
    tried, and leave the bucket unchanged. Each upstream index is asked for its root, to see whether
    it is one, and perhaps for a page, to see which hosts its files are on. If it is none, that is a
    warning, and so is a provider of [[sign_in]] that is not as the settings say, or a token that
    expires within 14 days.

    Examples:
        wheelyard config check
        wheelyard config check --config /etc/wheelyard/wheelyard.toml

    Documentation: settings.md
    """
    settings = command_settings()
    index = index_without_store(settings)
    authenticator = index.authenticator
    loaded = loaded_settings()
    summary = _summary(settings, loaded.config_source)
    for line in (*summary, *_changed_settings(loaded)):
        click.echo(escaped(line))
    for sentence in settings_warnings(settings, authenticator):
        warn(sentence)
    require_telemetry(settings)
    if index.upstream is not None:
        for sentence in index.upstream.policy.load():
            warn(sentence)
    if not settings.server.read_only:
        require_places(settings)
    _check_buckets(settings)
    _check_upstreams(settings, index)
    _check_providers(settings)
    _warn_of_expiring_tokens(settings)
    require_sign_in_secrets(settings)


@config_command.subcommand("show", Option(["--all", "wants_all"], is_flag=True), JSON, *INDEX)
def show(*, wants_all: bool) -> None:
    """
    Print the settings in force that are no defaults, and the file, variable or option of each.

    Secrets are not shown. With --server they are those of a server.

    Options:
        --all: Print the defaults, too.

    Examples:
        wheelyard config show
        wheelyard config show --all
        wheelyard config show --server https://packages.acme.dev

    Documentation: settings.md
    """
    listed = open_api().call(show_settings).settings
    settings = [setting for setting in listed if wants_all or not setting.is_default]
    lines = ((setting.name, setting.value, setting.source or "default") for setting in settings)
    print_result({"settings": settings}, lines)


@cli_command("health", JSON, *INDEX)
def health_command() -> int:
    """
    Print how a server is: its store, upstream indexes, files of credentials, queues, warnings.

    With a store it is what a command can see of it. The exit status is 1 if something has failed.

    Examples:
        wheelyard health --server https://packages.acme.dev
        wheelyard health --json

    Documentation: operating.md
    """
    health = open_api().call(show_health)
    print_result(health, ((part.state, part.name, part.text) for part in health.parts))
    if not given_option("json"):  # which has them
        for sentence in health.warnings:
            warn(sentence)
    return int(any(part.state == "failed" for part in health.parts))


def _warn_of_expiring_tokens(settings: Settings) -> None:
    """Print a warning for each token that expires soon, if there is a store."""
    if not has_store(settings):
        return
    try:
        tokens = open_index(settings, create=False).tokens.expiring()
    except WheelyardError as fault:
        click.echo(escaped(f"tokens: not looked at. {fault.message}"))
        return
    for token in tokens:
        expiry = f"{token.expires_at:%Y-%m-%d %H:%M} UTC"
        how = f"'wheelyard token rotate {token.id}' replaces it"
        warn(f"the token {token.id} ({token.name}) expires {expiry}; {how}")


def _check_buckets(settings: Settings) -> None:
    """
    Try the operations of an index on its buckets, and warn of all errors but the last.

    Raises the last error.
    """
    # a missing permission may affect several operations
    faults = {fault.message: fault for fault in bucket_errors(settings)}.values()
    errors = [fault for fault in faults if fault.code not in OTHER_CODES]
    for fault in faults:
        if fault.code in OTHER_CODES:
            click.echo(escaped(f"rights on the bucket: not tried. {fault.message}"))
    for fault in errors[:-1]:
        warn(fault.message)
    if errors:
        raise errors[-1]


def _summary(settings: Settings, config_source: str) -> Iterator[str]:
    """Yield what the settings of tables and defaults come to, in words."""
    access, server = settings.access, settings.server
    yield f"settings: {config_source or 'no file; the defaults'}, and the environment"
    yield f"address: {server.host}, port {server.port}; people reach it at {settings.index_url}"
    for file in tls_files(settings):
        yield f"TLS: by this server, until {file.value.expires:%Y-%m-%d %H:%M} UTC"
    location, tokens = settings.store.location, access.credentials_store
    is_folder = not is_bucket(location) and location != MEMORY_LOCATION
    is_new = is_folder and not Path(location, keys.FORMAT).is_file()
    elsewhere = f"; tokens in {tokens}" if tokens else ""
    yield f"store: {location}{elsewhere}{'; there is none yet' if is_new else ''}"
    closed = "whoever has a credential" if access.private else "anybody"
    yield f"reading: {'whom a grant or a token names' if settings.grant else closed}"
    grants = settings.grants
    for grant in grants.all:
        yield f"grant {grant.id}: {describe_grant(grant)}"
    for name, members in grants.groups.items():
        yield f"group {name}: {', '.join(sorted(members)) or 'nobody'}"
    for publisher in settings.publishers if settings.publisher else ():
        can = describe_scope(publisher.scope)
        yield f"publisher {publisher.id}: {publisher.issuer.names[0]} may {can}"
    for index in settings.upstream.indexes if settings.upstream.is_on else ():
        yield f"upstream {index.label}: {index.url}"


def _changed_settings(loaded: LoadedSettings) -> Iterator[str]:
    """Yield a line for each setting that is not the default, with its value and source."""
    for path, setting in all_settings().items():
        value = setting.value_in(loaded.settings)
        if value != setting.default and path in loaded.sources and not setting.is_table:
            shown = "(not shown)" if setting.is_secret else encode(value).decode()
            yield f"{setting.name} = {shown}, from {loaded.sources[path]}"


def _check_providers(settings: Settings) -> None:
    """Ask each provider for what it says of itself, and warn if the settings do not fit to it."""
    for config, why in ask_providers(settings):
        if why:
            warn(f"sign_in {config.name}: {config.issuer}: {why}")
        else:
            uri = f"it needs the redirect URI {config.redirect_uri}"
            click.echo(escaped(f"sign_in {config.name}: {config.issuer} is its issuer; {uri}"))


def _check_upstreams(settings: Settings, index: Index) -> None:
    """
    Print what is at the root of each upstream index, and warn if nothing shows that it is one.

    `index` is that of the settings, and may be over an empty store.
    """
    upstream = index.upstream
    if upstream is None or settings.upstream.offline:
        return
    # without an upstream index, nothing of it is loaded
    from wheelyard.upstream.settings import not_proven

    until = "Until then no new name can be uploaded" if settings.upstream.check_upload else ""
    for client in upstream.clients.in_order:
        server, why = client.server, upstream.pages.proof.ask(client)
        if not why:
            click.echo(f"upstream {server.label}: its root is a list of projects")
        elif _has_pages_of(server.id, settings):
            seen = "but pages of its projects were seen"
            click.echo(f"upstream {server.label}: {escaped(why)}; {seen}")
        else:
            warn(f"{not_proven(server, why)}. {until}".removesuffix(". "))
    upstream.close()
    if settings.upstream.finds_file_hosts:
        from wheelyard.wiring.upstream import with_file_hosts

        _, sentence = with_file_hosts(settings, system_runtime(), is_optional=True)
        click.echo(escaped(sentence))


def _has_pages_of(upstream_id: str, settings: Settings) -> bool:
    """Return whether the store is known to have pages of an upstream index."""
    with suppress(WheelyardError):
        upstream = open_index(settings, create=False).upstream if has_store(settings) else None
        return upstream is not None and upstream.pages.proof.is_stored(upstream_id)
    return False


CHECK_WIDTH: Final = 10
OUTCOME_WIDTH: Final = 7


@cli_command(
    "doctor",
    Argument(["url"], required=False),
    Option(["--project"], metavar="NAME", default=""),
    JSON,
)
def doctor_command(url: str | None, project: str) -> int:
    """
    Say why an install does not work from this machine, or what a token may publish.

    URL is the server's or its index's; without it, the index that pip or uv asks is examined. Each
    line is one check: of settings and credentials, the network, and the server. Nothing is changed,
    and no secret is printed. Exit 1 if a check failed.

    Options:
        --project: The project that does not work.

    Examples:
        wheelyard doctor
        wheelyard doctor https://packages.example.com/simple/
        wheelyard doctor https://packages.example.com --project acme-core

    Documentation: troubleshooting.md
    """
    machine = Machine(process_environment(), Path.home(), Path.cwd())
    chosen = examination(url, parse_name(project) if project else "", machine, system_runtime())
    index = printable(without_secrets(chosen.url))
    print_line(f"index: {escaped(index)} (of {escaped(chosen.source)})")
    findings = list[Finding]()
    for finding in chosen.run():
        text = printable(redact_tokens(finding.text))
        findings.append(replace(finding, text=text, advice=printable(finding.advice)))
        _print(findings[-1])
    print_result({"index": index, "checks": findings})
    return int(any(finding.outcome is CheckOutcome.FAILED for finding in findings))


def _print(finding: Finding) -> None:
    is_failed = finding.outcome is CheckOutcome.FAILED
    outcome = finding.outcome.upper() if is_failed else finding.outcome
    print_line(f"{outcome:{OUTCOME_WIDTH}}  {finding.check:{CHECK_WIDTH}}  {escaped(finding.text)}")
    if finding.advice:
        print_line(f"{'':{OUTCOME_WIDTH}}  {'':{CHECK_WIDTH}}  -> {escaped(finding.advice)}")


_HOST: Final = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
_ROOT: Final = re.compile(rf"https?://{_HOST}(?:/[A-Za-z0-9._~!&'()*+,;=:@%-]+)*")
"""A URL without a credential, a query, and what a client's file could take for its own syntax."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]+")


@cli_command(
    "print-settings",
    Argument(["client"], type=click.Choice(list(CLIENTS))),
    Option(["--url"], metavar="URL"),
    Option(["--project", "projects"], multiple=True, metavar="NAME"),
    Option(["--one-url"], is_flag=True),
    Option(["--with-token"], is_flag=True, help=f"Write the token of ${TOKEN_VARIABLE}, too."),
    *PACKAGES,
)
def print_settings_command(
    *, client: str, url: str | None, projects: tuple[str, ...], one_url: bool, with_token: bool
) -> None:
    """
    Print the configuration text of CLIENT for this index, to append to its file.

    With --project, the text names this project and all private ones that it needs, also indirectly,
    as store or server say. uv, Poetry, PDM and Pipenv take these from this index only, and all
    others from where they took them before. pip takes all from this index. With --one-url, every
    client does, since public packages come from an upstream index. Without --with-token there is no
    secret in the text.

    Options:
        --url: The root that clients use.  [default: as the settings say]
        --project: A project that comes from this index; may be given again.
        --one-url: The index serves public packages, too.  [default: as the settings say]

    Examples:
        wheelyard print-settings uv --server https://pypi.acme.dev --project acme
        wheelyard print-settings pip --index prod >> ~/.config/pip/pip.conf
        wheelyard print-settings twine --with-token >> ~/.pypirc

    Documentation: private-and-public.md
    """
    token = _parse_token(process_environment().get(TOKEN_VARIABLE, "")) if with_token else ""
    # each project once, in the order given
    wanted = tuple(dict.fromkeys(map(parse_name, projects)))
    settings = _client_settings(
        client, None if url is None else _parse_root(url), wanted, one_url=one_url
    )
    text = CLIENTS[client](replace(settings, token=token))
    if with_token:
        warn("there is a secret in this text: commit neither the file nor a lock file made from it")
    # an empty line first, as the last line of a file may have no end
    click.echo(f"\n{text}", nl=False)


def _client_settings(
    client: str, root: str | None, wanted: Sequence[NormalizedName], *, one_url: bool
) -> ClientSettings:
    # the index is asked only for what the client's text has to say, as it may not be there
    is_remote, name = given_option("server") is not None, given_option("index") or ""
    root = None if root is None else with_index(root)
    is_asked = is_remote or (wanted and client != "pip")  # the text for pip names no project
    if client in INSTALLERS and not one_url and is_asked:
        api = remote_api() or local_api(_index_or_advice())
        answer = api.call(client_projects, ClientProjectsQuery(",".join(wanted)))
        if root is None and isinstance(api, LocalApi):
            root = api.index.settings.base_url
        return ClientSettings(
            root=root or api.url,
            index=name,
            projects=answer.projects,
            serves_public=answer.serves_public,
        )
    if is_remote and root is None:
        root = open_api().url
    if root is not None:
        return ClientSettings(root=root, index=name, serves_public=one_url)
    if name:
        index = _index_or_advice()
        settings, has_upstream = index.settings, index.upstream is not None
    else:
        settings = loaded_settings().settings
        has_upstream = settings.upstream.is_on
    is_public = one_url or has_upstream
    return ClientSettings(root=settings.base_url, index=name, serves_public=is_public)


def _index_or_advice() -> Index:
    """
    Return the index of a store.

    Raises Invalid if there is none, with the other way to ask in the message.
    """
    try:
        return existing_index()
    except Invalid as fault:
        message = f"{fault.message} Or ask a server what the projects need, with --server URL."
        raise Invalid(message, code=fault.code) from fault


def _parse_root(text: str) -> str:
    """
    Return the root of a server for any of its URLs that people copy.

    Raises Invalid (code `bad_setting`) for any other text.
    """
    root = text.rstrip("/").removesuffix("/simple").removesuffix("/legacy")
    with suppress(ValueError):  # for a port above 65535, and a malformed IPv6 address
        if _ROOT.fullmatch(root) and urlsplit(root).port != 0:
            return root
    # a URL that has a password in it is not repeated
    what = "" if "@" in text else f" {quoted(text)}"
    raise Invalid(
        f"--url{what} is not the URL of a server. Write its root, such as "
        "https://pypi.acme.dev, without a credential.",
        code="bad_setting",
    )


def _parse_token(text: str) -> str:
    if not _TOKEN.fullmatch(text.strip()):
        raise Invalid(
            f"--with-token: ${TOKEN_VARIABLE} has no token. Set it to one that "
            "'wheelyard token create' has made.",
            code="bad_setting",
        )
    return text.strip()
