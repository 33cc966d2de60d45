"""Where a public project is from, what of it is not shown, and what was decided about it."""

from collections.abc import Sequence
from itertools import groupby

from wheelyard.model.decisions import Decision
from wheelyard.rendering.listing import HiddenFiles, Origin
from wheelyard.rendering.simple_pages import listed_version
from wheelyard.upstream.page import UpstreamPage
from wheelyard.upstream.policy.evaluation import PageView
from wheelyard.upstream.policy.policy import Policy
from wheelyard.upstream.policy.reasons import Reason


class UpstreamOrigin(Origin, frozen=True, kw_only=True):
    """The origin of a project of an upstream index."""

    page: UpstreamPage
    """With all files."""
    view: PageView
    """Which of them the policy shows, and why not the others."""
    policy: Policy
    refused_for: Reason | None = None
    """Why nothing of the project is shown, for programs."""

    def hidden(self) -> Sequence[HiddenFiles]:
        """Return what is not shown, the newest version first, files with one reason together."""
        page = self.page.by_filename
        hidden = [(page[name].version, why.for_people) for name, why in self.view.hidden.items()]
        hidden.sort(key=lambda file: (listed_version(file[0]), file[1]), reverse=True)
        return [
            HiddenFiles(version, len(list(files)), reason)
            for (version, reason), files in groupby(hidden)
        ]

    def decisions(self) -> Sequence[Decision]:
        """Return the decisions in force about the project; may read the store."""
        return self.policy.decisions_of(self.page.name).all
