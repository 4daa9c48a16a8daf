"""`kubectl config` as docs/chapters/09-access.md has it prints what the page says, and makes what hardway writes."""

import subprocess
from pathlib import Path

import pytest
import yaml

from hardway.artifacts.catalogue import DEFAULT_KUBERNETES
from hardway.artifacts.store import default_store

PAGE = Path(__file__).parents[2] / "docs" / "chapters" / "09-access.md"


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with kubectl, where the cache has one for this computer."""
    folder = tmp_path_factory.mktemp("kubectl")
    for path in Path(default_store().root, "blobs", "sha256").glob("*"):
        if path.stat().st_size > 30_000_000 and b"k8s.io/kubernetes/cmd/kubectl" in path.read_bytes():
            (folder / "kubectl").symlink_to(path)
            asked = [str(folder / "kubectl"), "version", "--client"]
            said = subprocess.run(asked, capture_output=True, text=True, check=False)
            if said.returncode == 0 and DEFAULT_KUBERNETES in said.stdout:
                return folder
            (folder / "kubectl").unlink()
    pytest.skip("no kubectl in the cache")


def test_the_page_says_what_kubectl_prints(kubectl: Path, tmp_path: Path) -> None:
    block = PAGE.read_text().partition("```bash\n")[2].partition("chmod 600")[0]
    commands = "\n".join(line for line in block.splitlines() if not line.startswith("#"))
    printed = [line.removeprefix("# ") for line in block.splitlines() if line.startswith("#")]
    (tmp_path / "pki").mkdir()
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=x"
    for name in ("ca", "admin"):
        subprocess.run(
            f"{make} -keyout pki/{name}.key -out pki/{name}.crt", shell=True, cwd=tmp_path, check=True,
            capture_output=True,
        )  # fmt: skip
    said = subprocess.run(
        ["bash", "-euc", commands], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PATH": f"{kubectl}:/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert said.stdout.splitlines() == printed
    made = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    assert made["current-context"] == "lab"
    assert made["clusters"][0]["cluster"]["server"] == "https://10.240.0.30:6443"
    assert [one["name"] for one in made["users"]] == ["hardway-admin"]
