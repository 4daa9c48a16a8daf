"""`reset` asks before it takes anything away, and connects to nobody without a yes."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import ran

UNREACHABLE = """\
cluster: real
machines:
  c0: {role: [controller, worker], address: 192.0.2.10, ssh: {host: 127.0.0.2, port: 1}}
"""
NOTHING_DONE, TRIED = False, True
Reset = Callable[..., tuple[bool, str, str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Reset:
    """Runs `hardway reset`; says whether it tried to connect, its output and its errors."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "real.yaml").write_text(UNREACHABLE)

    def run(answer: str | None, *flags: str) -> tuple[bool, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n") if answer is None else Terminal(answer))
        code, out, err = ran(monkeypatch, capsys, "reset", "-i", "real.yaml", *flags)
        assert code != 0
        return (tmp_path / ".hardway" / "real").exists(), out, err

    return run


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yess\n", "yes please\n"])
def test_only_a_yes_is_a_yes(reset: Reset, answer: str) -> None:
    tried, out, err = reset(answer)
    assert tried == NOTHING_DONE
    assert "Reset c0: the cluster real and all its data there are lost. Go on? [y/N]" in out
    assert "nothing was reset" in err


@pytest.mark.parametrize("answer", ["y\n", "yes\n", "YES\n", " y \n"])
def test_a_yes_goes_on_to_the_machines(reset: Reset, answer: str) -> None:
    tried, out, err = reset(answer)
    assert tried == TRIED
    assert "c0" in out + err
    assert "nothing was reset" not in err


@pytest.mark.parametrize("flags", [(), ("-o", "json")])
def test_without_a_terminal_nobody_is_asked_and_nothing_is_reset(reset: Reset, flags: tuple[str, ...]) -> None:
    tried, out, _ = reset(None, *flags)
    assert tried == NOTHING_DONE
    assert "Go on?" not in out


def test_yes_asks_nobody(reset: Reset) -> None:
    tried, out, _ = reset(None, "--yes")
    assert tried == TRIED
    assert "Go on?" not in out
