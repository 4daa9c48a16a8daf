"""What may be shown of what tools and servers say."""

import re


def without_credentials(text: str) -> str:
    """The text with the user and password of every URL taken out."""
    return re.sub(r"(\w+://)[^/\s@]+@", r"\1", text)
