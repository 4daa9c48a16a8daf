"""Imports go one way: what is pure knows nothing of what acts, and only the console prints."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import hardway

ROOT = Path(hardway.__file__).parent
LAYERS = (
    {"hardway", "values", "errors", "events", "platforms", "yaml_text", "files"},
    {"data", "debian", "accepted"},
    {"inventory", "console"},
    {"artifacts", "state", "facts", "journal", "remote"},
    {"declare", "workspace"},
    {"probe"},
    {"rules"},
    {"lint"},
    {"engine"},
    {"preflight", "smoke", "preview"},
    {"operations"},
    {"verify", "doctor", "status", "certificates"},
    {"explain", "map", "lab", "watch"},
    {"walk"},
    {"schemas"},
    {"cli"},
    {"__main__"},
)
"""Lowest first: a room may import its own layer and those before it."""
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

PURE = ("values", "errors", "events", "declare", "state", "facts", "journal", "probe", "rules")
"""Rooms that compute values and text, and do nothing."""
DOING = {
    "subprocess", "socket", "os", "shutil", "tempfile", "fcntl", "threading", "concurrent", "asyncio", "urllib",
    "http", "httpx", "fabric", "paramiko", "invoke",
    "hardway.remote", "hardway.workspace", "hardway.engine.session", "hardway.artifacts.store", "hardway.artifacts.get",
    "hardway.artifacts.download", "hardway.artifacts.build", "hardway.lab", "hardway.data", "hardway.debian",
}  # fmt: skip


def modules() -> dict[str, Path]:
    """Every module of hardway by its name."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ("hardway", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a module imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield node.lineno, full if full in MODULES else node.module


def room(module: str) -> str:
    """`hardway.declare.phases.etcd` is in the room `phases`."""
    return [*module.split("."), "hardway"][1]


def within(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}.")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_imports_from_a_higher_layer(module: str) -> None:
    upward = [
        f"line {line}: {name}"
        for line, name in imports(MODULES[module])
        if within(name, "hardway") and LEVEL[room(name)] > LEVEL[room(module)]
    ]
    assert upward == []


@pytest.mark.parametrize("module", sorted(name for name in MODULES if room(name) in PURE))
def test_what_declares_and_plans_can_do_nothing(module: str) -> None:
    doing = [
        f"line {line}: {name}"
        for line, name in imports(MODULES[module])
        if any(within(name, folder) for folder in DOING)
        and not within(name, f"hardway.{room(module)}")
        # Templates are data that travels with hardway.
        and (module, name) != ("hardway.declare.render", "hardway.data")
    ]
    assert doing == []


def test_kinds_of_resources_know_no_kubernetes() -> None:
    allowed = ("hardway.declare.resources", "hardway.declare.authority", "hardway.declare.pki",
               "hardway.declare.openssl", "hardway.declare.requests", "hardway.values",
               "hardway.yaml_text")  # fmt: skip
    for module in MODULES:
        if within(module, "hardway.declare.resources"):
            for line, name in imports(MODULES[module]):
                known = any(within(name, one) for one in allowed)
                assert known or not within(name, "hardway"), f"{module} line {line}: {name}"


def test_no_two_files_import_each_other() -> None:
    """Not even by way of others: a cycle shows as a file that reaches itself."""
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        graph[module] = {name for _, name in imports(path) if name in MODULES and name != module}
    assert cycles(graph) == []


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other, by Tarjan's algorithm."""
    found: list[list[str]] = []
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for imported in sorted(graph[module]):
            if imported not in number:
                visit(imported)
                lowest[module] = min(lowest[module], lowest[imported])
            elif imported in stack:
                lowest[module] = min(lowest[module], number[imported])
        if lowest[module] == number[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(graph):
        if module not in number:
            visit(module)
    return found


def test_only_the_command_line_knows_the_lab() -> None:
    knowing = {
        module
        for module, path in MODULES.items()
        if room(module) != "lab" and any(within(name, "hardway.lab") for _, name in imports(path))
    }
    # A schema says what the lab tells.
    assert {room(module) for module in knowing} - {"schemas"} == {"cli"}


def test_the_lab_is_a_neighbour_and_no_part_of_the_engine() -> None:
    for module in MODULES:
        if room(module) == "lab":
            rooms = {room(name) for _, name in imports(MODULES[module]) if within(name, "hardway")}
            assert rooms <= {"lab", "errors", "events", "data", "debian", "values", "files", "hardway"}, module


def printed(path: Path) -> list[int]:
    """Lines that print, or write to the standard streams."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            found.append(node.lineno)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"):
            found.append(node.lineno)
    return found


def test_only_the_console_and_the_command_line_print() -> None:
    # The lab's supervisor is a program of its own: what it prints is its log.
    own = {"hardway.lab.supervisor"}
    printing = {module for module, path in MODULES.items() if printed(path)} - own
    assert {room(module) for module in printing} <= {"console", "cli"}


def test_what_machines_say_has_one_way_to_the_terminal() -> None:
    """By `print_text`, `print_json`, `ask` or an event: there it is made harmless, and no command can forget that."""
    found = []
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("print", "input", "typer.echo", "typer.secho", "click.echo") or called.endswith(
                    ("stdout.write", "stderr.write", "stdout.buffer.write")
                ):
                    found.append(module)
    # The lab's supervisor is a program of its own with a log.
    assert set(found) == {"hardway.console.printing", "hardway.lab.supervisor"}


def test_every_room_has_its_layer() -> None:
    assert {room(module) for module in MODULES} <= set(LEVEL)


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports them by their bare names, and takes the second for the first in a run of all of them."""
    names = Counter(path.name for path in Path(__file__).parents[1].rglob("*.py"))
    twice = {name for name, count in names.items() if count > 1}
    assert twice <= {"__init__.py", "__main__.py", "conftest.py"}
