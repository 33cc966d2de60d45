"""The pages of the health of the server, and of the settings in force."""

from itertools import groupby

from wheelyard.api import health_operations
from wheelyard.http.context import IndexRequest
from wheelyard.http.handlers.admin.admin_pages import AdminPages
from wheelyard.http.messages import Response


class HealthPages:
    """Handles the pages of the health of the server, and of the settings in force."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the state of each part of the server, with warnings.

        Files of credentials are read again if they have changed.
        """
        health = self._pages.api(request).call(health_operations.show_health)
        return self._pages.show(request, "health/", "health.html", {"health": health})

    def answer_settings(self, request: IndexRequest) -> Response:
        """Handle GET: warnings, the settings that are no defaults, and all settings by section."""
        settings = self._pages.api(request).call(health_operations.show_settings).settings
        # `groupby` needs the order of sections, in which the settings come
        by_section = [(section, list(group)) for section, group in groupby(settings, _section_of)]
        values = {
            "warnings": health_operations.setting_warnings(request.context.index),
            "changed": [setting for setting in settings if not setting.is_default],
            "by_section": by_section,
        }
        return self._pages.show(request, "settings/", "settings.html", values)


def _section_of(setting: health_operations.SettingInForce) -> str:
    """Return the section of a setting, in brackets as in the file."""
    section, _, _ = setting.name.rpartition(".")
    # a setting without a section is a list of tables, such as [[sign_in]]
    if not section:
        return "Tables"
    return f"[{section}]"
