"""
The tables of docs/errors.md, made from this list of error codes: `nox -s errors` writes them.

A test compares the codes and their statuses with those that the program raises.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from msgspec import Struct

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "errors.md"
HEAD: Final = "| error | status | what happened | what to do |\n|---|---|---|---|"
_TABLE: Final = re.compile(r"^\| error \| status \|.*\n(?:\|.*\n)*", re.MULTILINE)


class ErrorCodes(Struct, frozen=True, kw_only=True):
    """A line of the page: codes of the same kind."""

    codes: tuple[str, ...]
    statuses: tuple[int, ...]
    """Over HTTP, or empty for what only commands say."""
    happened: str
    remedy: str


SECTIONS: Final[Mapping[str, tuple[ErrorCodes, ...]]] = MappingProxyType(
    {
        "Uploads and names": (
            ErrorCodes(
                codes=(
                    "bad_multipart",
                    "bad_encoding",
                    "incomplete_body",
                    "missing_field",
                    "duplicate_field",
                ),
                statuses=(400,),
                happened="the form is malformed",
                remedy="upload with a current client",
            ),
            ErrorCodes(
                codes=("invalid_field",),
                statuses=(400,),
                happened="a field or an option has an invalid value",
                remedy="see the message",
            ),
            ErrorCodes(
                codes=("invalid_action",),
                statuses=(400, 410),
                happened="`:action` is not `file_upload`",
                remedy="leave it out",
            ),
            ErrorCodes(
                codes=("invalid_filename",),
                statuses=(400,),
                happened="not a filename of a wheel or sdist",
                remedy="upload the file as the build tool named it",
            ),
            ErrorCodes(
                codes=("ambiguous_filename",),
                statuses=(400,),
                happened=(
                    "the version of an sdist may begin behind several hyphens of its name, and "
                    "nothing says which project it is of"
                ),
                remedy=(
                    "build it again: then its `PKG-INFO` says it; see "
                    "[publish](publish.md#versions-with-a-hyphen)"
                ),
            ),
            ErrorCodes(
                codes=("invalid_index",),
                statuses=(400,),
                happened="not the name of an index, or its layers do not fit together",
                remedy="see [indexes](indexes.md)",
            ),
            ErrorCodes(
                codes=("index_exists",),
                statuses=(409,),
                happened="an index, a project or a path has this name",
                remedy="choose another",
            ),
            ErrorCodes(
                codes=("unknown_index",),
                statuses=(409,),
                happened="a right names an index that does not exist",
                remedy="correct the name, or make the index first",
            ),
            ErrorCodes(
                codes=("index_in_use",),
                statuses=(409,),
                happened="the index has packages, or is a layer of another one",
                remedy="see the message",
            ),
            ErrorCodes(
                codes=("wrong_file",),
                statuses=(400,),
                happened="a file that describes the index has a wrong or unknown table",
                remedy="see the message",
            ),
            ErrorCodes(
                codes=("changed_meanwhile",),
                statuses=(409,),
                happened="somebody else has changed the same things since the plan was made",
                remedy="look at the plan as it is now, and apply the file again",
            ),
            ErrorCodes(
                codes=("opens_index",),
                statuses=(409,),
                happened="anybody may read the index, and it would show packages that need a right",
                remedy="leave the layer out, or confirm it (`--even-if-open`)",
            ),
            ErrorCodes(
                codes=("namespace_reserved",),
                statuses=(409,),
                happened="a new project is in a namespace of others",
                remedy="choose another name, or become an owner, see [namespaces](namespaces.md)",
            ),
            ErrorCodes(
                codes=("namespace_exists", "namespace_overlaps"),
                statuses=(409,),
                happened="there is this namespace, or one in or around it with other owners",
                remedy="change or revoke that one",
            ),
            ErrorCodes(
                codes=("hides_public_names",),
                statuses=(409,),
                happened="public packages that are in use would not be served any more",
                remedy="grant a narrower namespace, or confirm it (`--even-if-public`)",
            ),
            ErrorCodes(
                codes=("namespace_changed",),
                statuses=(409,),
                happened="somebody else has changed this namespace since it was read",
                remedy="read it again",
            ),
            ErrorCodes(
                codes=("webhook_exists",),
                statuses=(409,),
                happened="there is a webhook of this name",
                remedy="choose another name, or change that one",
            ),
            ErrorCodes(
                codes=("webhook_changed",),
                statuses=(409,),
                happened="somebody else has changed this webhook since it was read",
                remedy="read it again",
            ),
            ErrorCodes(
                codes=("too_many_webhooks",),
                statuses=(409,),
                happened="there are 50 webhooks",
                remedy="remove one",
            ),
            ErrorCodes(
                codes=("no_delivery",),
                statuses=(400,),
                happened="nothing can be sent to the webhook: it has no URL, or no secret",
                remedy="see the message",
            ),
            ErrorCodes(
                codes=("secret_in_variable",),
                statuses=(409,),
                happened="the secret of the webhook is in a variable, or it needs none",
                remedy="set another one there",
            ),
            ErrorCodes(
                codes=("index_changed",),
                statuses=(409,),
                happened="somebody else has changed the index meanwhile",
                remedy="look at it again, then change it",
            ),
            ErrorCodes(
                codes=("wrong_index",),
                statuses=(503,),
                happened=(
                    "a layer of the index is gone, or only a newer version knows one of its keys"
                ),
                remedy="see [indexes](indexes.md)",
            ),
            ErrorCodes(
                codes=("invalid_name", "invalid_version"),
                statuses=(400,),
                happened=(
                    "not a project name, or a reserved one; not a version, or a set of versions, "
                    "by PEP 440"
                ),
                remedy="choose another",
            ),
            ErrorCodes(
                codes=("name_mismatch", "version_mismatch"),
                statuses=(400,),
                happened="form, filename and archive name different projects or versions",
                remedy="build again",
            ),
            ErrorCodes(
                codes=("digest_mismatch",),
                statuses=(400,),
                happened="the file does not match the digest",
                remedy="send the file again",
            ),
            ErrorCodes(
                codes=("invalid_archive",),
                statuses=(400,),
                happened="programs could unpack the archive to different files, or it is damaged",
                remedy="see the message: send it again, or build again with a current tool",
            ),
            ErrorCodes(
                codes=("unsafe_archive",),
                statuses=(400,),
                happened=(
                    "a member would leave its folder, is not a plain file, or has a misleading name"
                ),
                remedy="build again; rename the file",
            ),
            ErrorCodes(
                codes=("archive_bomb",),
                statuses=(400,),
                happened=(
                    "the archive is too large when unpacked, or reading it takes too much "
                    "processor time: 10 seconds, and 60 a GiB"
                ),
                remedy="ship the data outside the package",
            ),
            ErrorCodes(
                codes=("too_busy",),
                statuses=(503,),
                happened="the machine was too busy to read the file in 10 minutes",
                remedy="try again later; an import does it by itself, three times",
            ),
            ErrorCodes(
                codes=("missing_metadata", "invalid_metadata"),
                statuses=(400,),
                happened="METADATA, WHEEL, RECORD or PKG-INFO is missing or malformed",
                remedy="correct the field that the message names",
            ),
            ErrorCodes(
                codes=("invalid_variant",),
                statuses=(400,),
                happened=(
                    "`variant.json` of a wheel with a label is missing or malformed, or is about "
                    "another label"
                ),
                remedy="build the [wheel variant](wheel-variants.md) again",
            ),
            ErrorCodes(
                codes=("variant_conflict",),
                statuses=(400,),
                happened=(
                    "`variant.json` of a wheel with a label contradicts that of another wheel of "
                    "the release"
                ),
                remedy="build all [wheel variants](wheel-variants.md) of a release alike",
            ),
            ErrorCodes(
                codes=("record_mismatch",),
                statuses=(400,),
                happened="RECORD and the archive disagree",
                remedy="build again; repacked wheels need a new RECORD",
            ),
            ErrorCodes(
                codes=("file_exists",),
                statuses=(409, 400),
                happened="the filename exists with other content, or was deleted",
                remedy="use a new version",
            ),
            ErrorCodes(
                codes=("invalid_attestations",),
                statuses=(400,),
                happened="attestations do not hold, or nobody has signed whose signature counts",
                remedy="sign again, or upload without, see [attestations](attestations.md)",
            ),
            ErrorCodes(
                codes=("unknown_authority",),
                statuses=(400,),
                happened="the trusted root of the index does not know the authority of a "
                "signature, or is older",
                remedy="ask the operator to upgrade, or upload without",
            ),
            ErrorCodes(
                codes=("attestations_required",),
                statuses=(403,),
                happened="files of this project need attestations",
                remedy="sign the file, and send them with it",
            ),
            ErrorCodes(
                codes=("no_own_packages",),
                statuses=(403,),
                happened="the index has no packages of its own",
                remedy="upload to one of its layers, see [indexes](indexes.md)",
            ),
            ErrorCodes(
                codes=("public_name",),
                statuses=(403,),
                happened="the name is that of a public package, and would hide it",
                remedy="choose another, or see [private names](upstream.md#private-names)",
            ),
            ErrorCodes(
                codes=("promotions_only",),
                statuses=(403,),
                happened="the index takes no uploads",
                remedy="upload to another one, and [promote](promotion.md) the release",
            ),
            ErrorCodes(
                codes=("index_not_named",),
                statuses=(403,),
                happened="nothing was ever published in main, and there are other indexes",
                remedy="upload to one of them, see [main](indexes.md#the-index-main)",
            ),
            ErrorCodes(
                codes=("promotion_refused",),
                statuses=(403,),
                happened="a rule of the other index, or a yank, keeps the release back",
                remedy="see [promotion](promotion.md#rules)",
            ),
            ErrorCodes(
                codes=("removed_rule",),
                statuses=(403, 409),
                happened=(
                    "the index has a rule or a filter of an earlier version, so it is not changed "
                    "without taking that away; with a rule, nothing is promoted to it"
                ),
                remedy=(
                    "take away [the rule](promotion.md#rules-of-earlier-versions), or replace "
                    "[the filter](rules.md#filters-of-earlier-versions)"
                ),
            ),
            ErrorCodes(
                codes=("quota_exceeded",),
                statuses=(413,),
                happened="the file does not fit into the quota of the index or the project",
                remedy="delete old releases, or ask the operator, see [quotas](quotas.md)",
            ),
            ErrorCodes(
                codes=("too_large",),
                statuses=(413, 400),
                happened="over a limit",
                remedy="send less, or raise the limit",
            ),
            ErrorCodes(
                codes=("retention_running",),
                statuses=(409,),
                happened=(
                    "another process deletes by rules of [retention](retention.md), or has died"
                ),
                remedy="try again in ten minutes",
            ),
            ErrorCodes(
                codes=("not_kept",),
                statuses=(404,),
                happened=(
                    "the deleted file is not kept any more: its 30 days are over, it was deleted "
                    "at once, or everybody can read the bucket"
                ),
                remedy="publish a new version",
            ),
            ErrorCodes(
                codes=("not_intact",),
                statuses=(409,),
                happened="the kept bytes of a deleted file are missing or damaged",
                remedy="publish a new version, or restore a backup",
            ),
            ErrorCodes(
                codes=("listed_elsewhere",),
                statuses=(409,),
                happened=(
                    "another index of the store has the bytes that would be removed; nothing was "
                    "removed"
                ),
                remedy="`--everywhere` removes them there, too",
            ),
            ErrorCodes(
                codes=("listed_meanwhile",),
                statuses=(409,),
                happened=(
                    "the files are removed, but another index got the same bytes at the same "
                    "time, and still lists them"
                ),
                remedy=(
                    "`--everywhere` removes them there, too; to keep them, upload the file there "
                    "again if it cannot be downloaded"
                ),
            ),
            ErrorCodes(
                codes=("conflict",),
                statuses=(409,),
                happened=(
                    "another client changed the project at the same time, or what it is now does "
                    "not allow the request"
                ),
                remedy="see the message, or try again",
            ),
        ),
        "Access": (
            ErrorCodes(
                codes=("unauthenticated",),
                statuses=(401,),
                happened="the credential is missing or invalid",
                remedy="[send a valid one](access.md#client-configuration)",
            ),
            ErrorCodes(
                codes=("token_expired", "token_revoked"),
                statuses=(401,),
                happened="the token has expired, or somebody has revoked it",
                remedy="make another, or ask for one",
            ),
            ErrorCodes(
                codes=("owner_ended",),
                statuses=(401,),
                happened="the owner of the token may not use the index any more",
                remedy="[sign in and make another](tokens.md#tokens-of-people), or ask",
            ),
            ErrorCodes(
                codes=("person_ended",),
                statuses=(401,),
                happened="an administrator has ended the access of this person",
                remedy="ask the operator of the index",
            ),
            ErrorCodes(
                codes=("owner_unconfirmed",),
                statuses=(401,),
                happened=(
                    "the owner of the token has not signed in for too long, or their provider "
                    "did not confirm them any more"
                ),
                remedy="sign in in the browser; then the token works again",
            ),
            ErrorCodes(
                codes=("forbidden",),
                statuses=(403,),
                happened="the credential lacks the permission, or the project takes no uploads",
                remedy="`wheelyard access explain`",
            ),
            ErrorCodes(
                codes=("https_required",),
                statuses=(403,),
                happened="the credential came over plain HTTP",
                remedy="write `https://`; replace the credential, which others may have read",
            ),
            ErrorCodes(
                codes=("cross_site",),
                statuses=(403,),
                happened="a page of another site sent this, or the host name is unknown",
                remedy="[DNS rebinding protection](operating.md#dns-rebinding-protection)",
            ),
            ErrorCodes(
                codes=("not_confirmed", "stale_form"),
                statuses=(400, 403),
                happened="what was typed to confirm is wrong; the form is too old",
                remedy="load the page again",
            ),
            ErrorCodes(
                codes=("sign_in_refused",),
                statuses=(403,),
                happened="the provider does not say that you may sign in",
                remedy="see the message; the operator finds the reason in the log",
            ),
            ErrorCodes(
                codes=("sign_in_expired",),
                statuses=(400,),
                happened=(
                    "the sign-in was begun in another browser, or more than ten minutes ago, or "
                    "is over"
                ),
                remedy="sign in again",
            ),
            ErrorCodes(
                codes=("name_taken",),
                statuses=(409,),
                happened="somebody else had this name at the provider first",
                remedy="ask an administrator to release it",
            ),
            ErrorCodes(
                codes=("read_only",),
                statuses=(403,),
                happened="the server has `[server] read_only`",
                remedy="use another server of the same index",
            ),
            ErrorCodes(
                codes=("too_many_tokens", "group_in_use"),
                statuses=(409,),
                happened="you have 100 active tokens; a grant of the store names this group",
                remedy="revoke some first",
            ),
            ErrorCodes(
                codes=("publisher_exists",),
                statuses=(409,),
                happened="another trusted publisher has this id",
                remedy="choose another id, or change that publisher",
            ),
            ErrorCodes(
                codes=("private_name",),
                statuses=(409,),
                happened="the name is private, and decisions are about public packages",
                remedy="yank the release instead, or ask its owners for one",
            ),
            ErrorCodes(
                codes=("unknown_group",),
                statuses=(409,),
                happened="a grant names a group that does not exist",
                remedy="correct the name, or make the group first",
            ),
            ErrorCodes(
                codes=("no_upstream",),
                statuses=(409,),
                happened="nobody can be asked about the package, as there is no upstream index",
                remedy="give the digests of its files, or the settings of the server",
            ),
            ErrorCodes(
                codes=("decisions_changed",),
                statuses=(409,),
                happened=(
                    "somebody else has decided about one of these public packages since the list "
                    "was read"
                ),
                remedy="read it again",
            ),
            ErrorCodes(
                codes=("publisher_changed",),
                statuses=(409,),
                happened="somebody else has changed this trusted publisher since it was read",
                remedy="read it again",
            ),
            ErrorCodes(
                codes=("group_exists",),
                statuses=(409,),
                happened="the store has a group of this name",
                remedy="change its members",
            ),
            ErrorCodes(
                codes=("own_access",),
                statuses=(409,),
                happened="after this change you would be no administrator",
                remedy=(
                    'confirm it: tick the box of the form, send `"even_if_own": true`, or '
                    "`--even-if-own`"
                ),
            ),
            ErrorCodes(
                codes=("rate_limited",),
                statuses=(429,),
                happened="too many invalid credentials from this network or for this name",
                remedy="correct the credential, and wait",
            ),
            ErrorCodes(
                codes=("identity_unavailable",),
                statuses=(503,),
                happened=(
                    "the issuer of the credential, or the provider of the session, does not answer"
                ),
                remedy="try again",
            ),
        ),
        "Public packages": (
            ErrorCodes(
                codes=("cooldown", "snapshot"),
                statuses=(403,),
                happened="the public file is too new, or its age is unknown",
                remedy="use an older version, or [ask for it](upstream-policy.md#requests)",
            ),
            ErrorCodes(
                codes=("malicious", "vulnerable", "licence"),
                statuses=(403,),
                happened=(
                    "the public version is malware, has a known vulnerability, or a blocked licence"
                ),
                remedy="use another one",
            ),
            ErrorCodes(
                codes=("not_attested", "not_verified", "prerelease", "version", "yanked"),
                statuses=(403,),
                happened="a [rule](rules.md) of `[upstream]` hides the public file",
                remedy="use another version",
            ),
            ErrorCodes(
                codes=("blocked", "not_approved", "quarantined"),
                statuses=(403,),
                happened=(
                    "somebody has blocked it, nobody has approved it, or its index has "
                    "quarantined it"
                ),
                remedy="see the message; [ask for it](upstream-policy.md#requests)",
            ),
            ErrorCodes(
                codes=("view",),
                statuses=(404,),
                happened="the rules of the index, or its day, hide the file",
                remedy="see [rules](rules.md), or use another index",
            ),
            ErrorCodes(
                codes=("denied", "not_listed"),
                statuses=(404,),
                happened="`[upstream] deny` has the name, or `allow` lacks it",
                remedy="ask the operator",
            ),
            ErrorCodes(
                codes=("request_limit",),
                statuses=(409,),
                happened="you, or all together, wait for too many public packages",
                remedy="talk to whoever approves them",
            ),
            ErrorCodes(
                codes=("bad_upstream",),
                statuses=(502,),
                happened="an upstream index gives an answer that cannot be used",
                remedy="tell the operator; the message says what is wrong",
            ),
            ErrorCodes(
                codes=("upstream_refused",),
                statuses=(403,),
                happened=(
                    "an upstream index refuses this project or file, and answers for others; the "
                    "message has its reason"
                ),
                remedy="ask whoever runs that index, or use another version",
            ),
            ErrorCodes(
                codes=("upstream_unavailable",),
                statuses=(503,),
                happened="an upstream index does not answer",
                remedy=(
                    "try again; [offline](upstream.md#running-offline) install it once where "
                    "there is a connection; for your own names, set `[upstream] private`"
                ),
            ),
            ErrorCodes(
                codes=("upstream_busy",),
                statuses=(503,),
                happened=(
                    "half of the threads wait for an upstream index, or as many as one client "
                    "may have"
                ),
                remedy=(
                    "try again after `Retry-After`; see [slow "
                    "indexes](upstream-behaviour.md#an-index-that-is-slow)"
                ),
            ),
            ErrorCodes(
                codes=("upstream_unproven",),
                statuses=(503,),
                happened=(
                    "nothing [has shown yet](upstream.md#an-index-has-to-show-that-it-is-one) "
                    "that there is an index at its `url`"
                ),
                remedy="correct the `url`, or run `wheelyard upstream why PROJECT`",
            ),
            ErrorCodes(
                codes=("upstream_loop",),
                statuses=(508,),
                happened="the index is its own upstream index",
                remedy="the operator changes the `url` in `[upstream]`",
            ),
        ),
        "Requests": (
            ErrorCodes(
                codes=("bad_request",),
                statuses=(400,),
                happened="the path or a header is malformed",
                remedy="ask for a path as the index links to it",
            ),
            ErrorCodes(
                codes=("not_found",),
                statuses=(404,),
                happened="missing, or the caller may not read it",
                remedy="check the spelling and the token",
            ),
            ErrorCodes(
                codes=(
                    "method_not_allowed",
                    "not_acceptable",
                    "precondition_failed",
                    "unsupported_media_type",
                    "range_not_satisfiable",
                ),
                statuses=(405, 406, 412, 415, 416),
                happened=(
                    "the path does not answer this method, `Accept`, `If-Match`, content type or "
                    "range"
                ),
                remedy="see the message",
            ),
            ErrorCodes(
                codes=("request_timeout",),
                statuses=(408,),
                happened="the body came slowly for long",
                remedy="look at the network, or at a proxy that buffers it",
            ),
            ErrorCodes(
                codes=("uri_too_long", "headers_too_large"),
                statuses=(414, 431),
                happened="the URL or the headers are too long",
                remedy="send less",
            ),
            ErrorCodes(
                codes=("unknown_host",),
                statuses=(421,),
                happened="`[access] trusted_hosts` does not list the host of the URL",
                remedy="use the right URL, or add the host",
            ),
            ErrorCodes(
                codes=("downloads_not_counted",),
                statuses=(404,),
                happened="`[downloads] count` is false",
                remedy="the operator sets it, and downloads are counted from then on",
            ),
            ErrorCodes(
                codes=("unknown_serial",),
                statuses=(404,),
                happened="there is no such serial, as after a restore",
                remedy="begin with 0",
            ),
            ErrorCodes(
                codes=("internal_error",),
                statuses=(500,),
                happened="a defect of wheelyard",
                remedy="tell its operator, who has a log",
            ),
            ErrorCodes(
                codes=("overloaded",),
                statuses=(503,),
                happened="too many writers, uploads or long answers at once",
                remedy="try again in a moment",
            ),
        ),
        "Store": (
            ErrorCodes(
                codes=("storage_unavailable",),
                statuses=(503,),
                happened="the store does not answer",
                remedy="try again; look at the disk",
            ),
            ErrorCodes(
                codes=("store_not_written",),
                statuses=(503,),
                happened="`/ready` alone: no write has succeeded since the server started",
                remedy="`wheelyard config check`",
            ),
            ErrorCodes(
                codes=("storage_denied",),
                statuses=(503,),
                happened="the server's credentials lack a right on the bucket",
                remedy="grant what the message names",
            ),
            ErrorCodes(
                codes=("storage_refused",),
                statuses=(503,),
                happened="the bucket rejects a request",
                remedy="set the region; look for a proxy that alters requests",
            ),
            ErrorCodes(
                codes=("storage_credentials",),
                statuses=(503,),
                happened="the credentials of the bucket are missing, expired or not accepted",
                remedy="see [Credentials](bucket.md#credentials)",
            ),
            ErrorCodes(
                codes=("conditions_ignored",),
                statuses=(503,),
                happened="the service of the bucket does not keep the conditions of writes",
                remedy="[choose another service](bucket.md#services-with-the-s3-api)",
            ),
            ErrorCodes(
                codes=("bucket_missing",),
                statuses=(503,),
                happened="the bucket does not exist, or the credentials may not see it",
                remedy="check its name",
            ),
            ErrorCodes(
                codes=("signing_denied", "signing_unavailable"),
                statuses=(),
                happened="the server cannot sign URLs, and sends files itself",
                remedy="grant what the message names",
            ),
            ErrorCodes(
                codes=("clock_differs",),
                statuses=(503,),
                happened=(
                    "a sweep or retention on a machine whose clock is an hour or more off that "
                    "of the store"
                ),
                remedy="[set the clock](troubleshooting.md#clock-errors)",
            ),
            ErrorCodes(
                codes=("damaged_document",),
                statuses=(503,),
                happened="a document or a file is damaged or lost",
                remedy="`wheelyard check`, then `--rebuild`",
            ),
            ErrorCodes(
                codes=("newer_document", "newer_store"),
                statuses=(503,),
                happened="a newer wheelyard has written it",
                remedy="upgrade to the version that the message names",
            ),
            ErrorCodes(
                codes=("older_store",),
                statuses=(),
                happened="a version before the first release has written it",
                remedy="make a new store, and import its folder `files`",
            ),
            ErrorCodes(
                codes=("storage_full",),
                statuses=(507,),
                happened=(
                    "no space left, or less than [the reserve for deletions](store.md#folders)"
                ),
                remedy="free some space; deleting works",
            ),
        ),
        "Commands": (
            ErrorCodes(
                codes=("bad_setting",),
                statuses=(),
                happened="a setting or an option is invalid",
                remedy="see [settings.md](settings.md)",
            ),
            ErrorCodes(
                codes=("bad_source", "source_unavailable", "unreadable_file"),
                statuses=(),
                happened="the source of an import, or a file, cannot be read",
                remedy="see the message; import again: it continues",
            ),
            ErrorCodes(
                codes=("bad_destination",),
                statuses=(),
                happened="a static site cannot be written there",
                remedy="choose another location",
            ),
            ErrorCodes(
                codes=("bad_lock_file",),
                statuses=(),
                happened="a lock file cannot be read, or is no `pylock.toml`",
                remedy="lock again",
            ),
            ErrorCodes(
                codes=("no_index", "server_unavailable"),
                statuses=(),
                happened="there is no wheelyard server at that URL",
                remedy="give its root URL; for a static site, `--store`",
            ),
        ),
        "Trusted publishing error codes": (
            ErrorCodes(
                codes=("not-enabled",),
                statuses=(404,),
                happened="there is no trusted publisher, or no `[trusted_publishing] audience`",
                remedy="add them",
            ),
            ErrorCodes(
                codes=("invalid-payload",),
                statuses=(422,),
                happened="not JSON with a `token`, or no publisher has this issuer",
                remedy="add a [publisher](trusted-publishing.md)",
            ),
            ErrorCodes(
                codes=("invalid-token",),
                statuses=(422,),
                happened="signature, times or audience are wrong",
                remedy="ask for it with the audience of `/_/oidc/audience`; look at both clocks",
            ),
            ErrorCodes(
                codes=("invalid-publisher",),
                statuses=(422,),
                happened="no publisher matches the ID token",
                remedy=(
                    "correct the claim that the message names; for `event_name` and "
                    "`pipeline_source`, [its `events`](trusted-publishing.md#github-actions)"
                ),
            ),
            ErrorCodes(
                codes=("invalid-reuse-token",),
                statuses=(422,),
                happened="the ID token was used before",
                remedy="publish all files in one call",
            ),
            ErrorCodes(
                codes=("rate-limited",),
                statuses=(429,),
                happened=(
                    "more than 60 requests a minute from one address; malformed tokens are "
                    "counted separately"
                ),
                remedy="set `[server] trusted_proxies`",
            ),
        ),
    }
)
"""All codes, by the sections of the page."""


def page_with_tables(page: str) -> str:
    """
    Return a page whose sections have the tables of today.

    Raises:
        ValueError: The page has not all sections in this order, each with a table.
    """
    before, *sections = re.split(r"^## ", page, flags=re.MULTILINE)
    titles = [section.partition("\n")[0] for section in sections]
    if titles != list(SECTIONS):
        raise ValueError(f"The sections of the page have to be {', '.join(SECTIONS)}")
    written = [before]
    for title, section in zip(titles, sections, strict=True):
        text, count = _TABLE.subn(lambda _, title=title: _table(SECTIONS[title]), section)
        if count != 1:
            raise ValueError(f"The section {title} has to have one table")
        written.append(text)
    return "## ".join(written)


def _table(rows: tuple[ErrorCodes, ...]) -> str:
    return "\n".join([HEAD, *map(_line, rows)]) + "\n"


def _line(row: ErrorCodes) -> str:
    codes = ", ".join(f"`{code}`" for code in row.codes)
    statuses = ", ".join(map(str, row.statuses))
    return f"| {codes} | {statuses} | {row.happened} | {row.remedy} |".replace("|  |", "| |")


def main() -> None:
    """Write the tables into docs/errors.md."""
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
