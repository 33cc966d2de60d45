"""Handler of the provenance of files (PEP 740), as PyPI's Integrity API has it."""

from wheelyard.errors import Invalid, NotFound, quoted
from wheelyard.http import resolver
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import error_response
from wheelyard.http.messages import Response
from wheelyard.http.representation import MediaType, accepted_json
from wheelyard.http.responses import VARY, page_response
from wheelyard.model.distribution_filename import parse_name, parse_version, strip_trailing_zeros


def answer(request: IndexRequest) -> Response:
    """
    Handle GET of the provenance of a file.

    The filename names the file, and the version in the URL has to be that of the file. The response
    is 406 if the client accepts no JSON. Raises Unauthenticated or Forbidden if the caller may not
    ask for the project, and NotFound if there is no such file, or it has no provenance. Raises
    Unavailable if the store or an upstream index does not answer. Raises Waiting if an upstream
    index has to be asked.
    """
    params = request.path_params
    filename = params["filename"]
    try:
        name = parse_name(params["project"])
        request.context.read_policy.require_lookup(request.caller, name)
        # the filename may spell the version in another way than the URL (PEP 440)
        version = parse_version(params["version"])
        release = strip_trailing_zeros(str(version))
    except Invalid as error:
        raise NotFound(error.message) from error
    accept = request.joined_headers.get(b"accept", b"")
    media_type = accepted_json(accept, MediaType.INTEGRITY)
    if media_type is None:
        return error_response(
            406,
            "not_acceptable",
            f"A provenance is {MediaType.INTEGRITY.value.content_type.decode()} or "
            "application/json. Accept one of them.",
            VARY,
        )
    listing = resolver.find(request.context, name, request, may_refresh=False)
    provenance = listing.open.provenance(request, filename, release)
    if provenance is None:
        raise NotFound(f"There is no provenance of {quoted(filename)}.")
    return page_response(
        request.context,
        request,
        media_type,
        ("provenance", name, filename),
        provenance.sha256,
        provenance.load,
        listing=listing,
    )
