"""An async background-task service on taskiq: one to run as it is, and one to build on."""

from kiqstart.late_imports import put_off_admin_middleware

# Here, since it works only before taskiq is imported.
put_off_admin_middleware()
