"""Where the packaged data is: templates/, components/, inventories/.

In a wheel they are inside the package (`hardway/_data/`); in a source tree or an editable
install they are beside it.
"""

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


@cache
def folder(name: str) -> Path:
    """The data folder of that name; raises FileNotFoundError where the installation is incomplete."""
    for candidate in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"hardway's own {name}/ folder is missing from this installation")


def read(name: str) -> str:
    """Text of one data file, by its path such as `templates/units/etcd.service`."""
    top, _, rest = name.partition("/")
    return (folder(top) / rest).read_text(encoding="utf-8")
