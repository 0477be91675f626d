"""The URL of a Redis for another of its users."""

from urllib.parse import parse_qsl, urlencode, urlsplit

_OF_USERS = ("username", "password")


def url_as(url: str, user: str, password: str) -> str:
    """The same server and database for a user; whom the URL names is forgotten."""
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name not in _OF_USERS]
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{user}:{password}@{place}", query=urlencode(query)).geturl()
