"""`%h` and `${NAME}` in values of ssh_config that ssh expands only when it uses them."""

import os
import re
from collections.abc import Mapping

from hardway.errors import UsageError

_TOKEN = re.compile(r"%(.?)|\$\{([^}]*)\}")


def expanded(text: str, tokens: Mapping[str, str], *, environment: bool) -> str:
    """The text with its tokens and, with `environment`, its variables. Raises UsageError for unknown ones, as ssh."""

    def value(found: re.Match[str]) -> str:
        token, variable = found[1], found[2]
        if token is not None and token in tokens:
            return tokens[token]
        if token is not None:
            raise UsageError(f"ssh_config: {text}: the token {found[0]} is not known here")
        if not environment:
            return found[0]
        if variable not in os.environ:
            raise UsageError(f"ssh_config: {text}: the variable {variable} is not set")
        return os.environ[variable]

    return _TOKEN.sub(value, text)
