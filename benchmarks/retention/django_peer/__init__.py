"""The clean-ups of the two Celery tutorials on Django's ORM. It runs in an environment of its own."""
