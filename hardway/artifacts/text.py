"""What may be shown of what tools and servers say."""

import re
from urllib.parse import urlsplit


def without_credentials(text: str) -> str:
    """The text with the user and password of every URL taken out."""
    return re.sub(r"(\w+://)[^/\s@]+@", r"\1", text)


def address(url: str, base: str | None) -> str:
    """Where a publisher's file is asked for: at its own URL, or below a mirror's base URL."""
    return f"{base.rstrip('/')}/{url.partition('://')[2]}" if base else url


def host_of(url: str) -> str:
    return urlsplit(url).netloc
