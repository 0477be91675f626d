"""A page for each thing that an operator looks at, for any application; `kiqstart dashboard` serves it.

    from kiqstart.dashboard import create_dashboard

    site.mount("/kiqstart", create_dashboard(app))

Who comes in. Nobody without a login: a password, of which the settings have a hash only (`passwords`), or a name that a
proxy at one of the named addresses has put into a header (`proxy`). A login views, or views and acts (`sessions`). The
page gives the browser a session cookie that is signed with a secret and with the hashes, so that a new password ends
all sessions (`sessions`); no session is kept here, and none is lost with a process that has KIQSTART_DASHBOARD_SECRET.
Every POST has a token that only a page of the same session has, the login's too. Wrong passwords from one address are
counted (`login_limit`), and one is tried at a time, since a try costs memory.

What goes out. All text is made harmless as that on the command line is (`operations.text`), then escaped by the
template, which is told of no text that it is safe. The browser is told to run and load only what comes from here,
nothing within a page, and to show the page in no other's frame (`headers`).

What it costs. A page reads what the command of its name reads. A page that is open is sent again by the server when it
has changed (`streams`), or asks for its own parts every few seconds; all who look share what was read in the last
second (`looks`), so that more viewers ask Redis nothing more. The text of the kept runs and a line of each dead letter
are in memory (`broker.run_index`, `operations.letter_index`), where a search takes milliseconds; a look reads what was
added since.

What is done goes through the functions that the command line calls, is confirmed on a page of its own that names what
and how many, and is kept in the log of acts with the login's name.
"""

from typing import TYPE_CHECKING

from kiqstart.lazy_names import lazy_names

if TYPE_CHECKING:
    from kiqstart.dashboard.application import create_dashboard
    from kiqstart.dashboard.settings import DashboardSettings

__all__ = ["DashboardSettings", "create_dashboard"]

__getattr__ = lazy_names(
    __name__,
    {
        "kiqstart.dashboard.application": "create_dashboard",
        "kiqstart.dashboard.settings": "DashboardSettings",
    },
)
