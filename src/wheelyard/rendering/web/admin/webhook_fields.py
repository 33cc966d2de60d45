"""The fields of the form of a webhook, one for each key that a webhook may have."""

from typing import Final

from wheelyard.model.stored_webhooks import IMPORTED, MAX_URL_CHARS, OF_PROJECTS, OF_SERVER
from wheelyard.rendering.web.admin.form_fields import FormField

NAME_FIELD: Final = FormField(
    "name",
    "Name",
    "Such as builds: letters a-z, digits and hyphens. It stays as it is.",
    is_required=True,
    limit=40,
)
FIELDS: Final = (
    FormField(
        "url",
        "URL",
        "Such as https://ci.example/hook. Leave it empty for a chat, and wherever the URL itself "
        "is a secret: then the variable WHEELYARD_WEBHOOK_<NAME>_URL of the server has it.",
        limit=MAX_URL_CHARS,
    ),
    FormField(
        "format",
        "What is sent",
        choices=(
            ("", "JSON, signed as Standard Webhooks says"),
            ("slack", "A line of text, for Slack, Teams and Mattermost"),
        ),
        control="list",
    ),
    # from the same constants by which the keys are checked, so that the hint has all of them
    FormField(
        "events",
        "Events",
        f"Words with commas: {', '.join(sorted(OF_PROJECTS))}. Empty means all of these. There "
        f"are also {', '.join(sorted(OF_SERVER))}, and {IMPORTED} for what imports and copies "
        "bring.",
    ),
    FormField(
        "indexes",
        "Indexes",
        "Names with commas, or * for all. Empty means main.",
    ),
    FormField(
        "projects",
        "Projects",
        "Names or patterns such as acme-*, with commas. Empty means all.",
    ),
    FormField(
        "allow_private",
        "Its host may have an address in a private network that the settings name.",
        control="tick",
    ),
)
