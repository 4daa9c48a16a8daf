"""A company signs what hardway asks for, and keeps its CAs' keys (docs/operate/own-ca.md); openssl is the company."""

import subprocess
from pathlib import Path

import pytest
from driving import Labs, Site, renamed

pytestmark = pytest.mark.lab

NAMES = ("kubernetes", "etcd", "front-proxy")
AUTHORITIES = "certs:\n  authorities:\n" + "".join(f"    {name}: {{certificate: ca/{name}.crt}}\n" for name in NAMES)
COMPANY = """\
set -e
mkdir "$1" && cd "$1"
openssl req -x509 -newkey rsa:2048 -nodes -days 4000 -subj '/O=Company/CN=Root' -keyout root.key -out root.crt \\
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
printf '%s\\n' basicConstraints=critical,CA:TRUE,pathlen:0 keyUsage=critical,keyCertSign,cRLSign \\
  subjectKeyIdentifier=hash authorityKeyIdentifier=keyid >extensions
shift
for name; do
  openssl req -newkey rsa:2048 -nodes -subj "/O=Company/CN=Issuing $name" -keyout "$name.key" -out "$name.csr"
  openssl x509 -req -in "$name.csr" -CA root.crt -CAkey root.key -CAcreateserial -days 2000 -extfile extensions -out one
  cat one root.crt >"$name.crt"
done
"""
SIGN = """\
set -e
openssl x509 -req -in "$1" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 300 -copy_extensions copyall -out "$3"
"""


def openssl(script: str, *words: str, folder: Path) -> None:
    done = subprocess.run(["sh", "-c", script, "sh", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def answer(company: Path, requests: Path, answers: Path) -> None:
    """Signs every request with the CA that its line in the table names."""
    answers.mkdir()
    lines = (requests / "requests.txt").read_text().splitlines()[1:]
    for line in lines:
        name = line.split()[0].removesuffix(".csr")
        issuer = line.rpartition("CN=Issuing ")[2].partition(",")[0]
        openssl(SIGN, str(requests / f"{name}.csr"), issuer, str(answers / f"{name}.crt"), folder=company)
    assert lines


def request_and_import(site: Site, company: Path, folder: Path, *words: str) -> None:
    folder.mkdir()
    site.hardway("certs", "csr", str(folder / "requests"), *words)
    answer(company, folder / "requests", folder / "answers")
    site.hardway("certs", "import", str(folder / "answers"))


@pytest.mark.in_turn("closed sites")
def test_a_company_signs_and_its_keys_stay_with_it(labs: Labs, tmp_path: Path) -> None:
    openssl(COMPANY, "company", *NAMES, folder=tmp_path)
    company = tmp_path / "company"
    site = labs.make("hwtest-company", renamed("single.yaml", "hwtest-company") + AUTHORITIES)
    ca = site.inventory.parent / "ca"
    ca.mkdir(exist_ok=True)
    for name in NAMES:
        (ca / f"{name}.crt").write_bytes((company / f"{name}.crt").read_bytes())
    labs.fresh(site)
    waiting = site.hardway("init", "--yes", code=1).out
    assert "hardway certs csr" in waiting
    request_and_import(site, company, tmp_path / "first")
    site.init()
    assert set(site.nodes_ready()) == {"one"}
    assert not list(site.workspace.glob("pki/**/*ca.key"))
    assert "ca.key" not in site.on("one", "ls -R /etc/kubernetes/pki /etc/etcd/pki")

    # Before they end, all are asked for again with the same keys, and come into service without a new build.
    serial = served(site)
    request_and_import(site, company, tmp_path / "again", "--all")
    site.hardway("init", "--yes")
    assert served(site) != serial
    site.unchanged("init")
    site.hardway("certs", "check")


def served(site: Site) -> str:
    ask = "openssl s_client -connect 127.0.0.1:6443 </dev/null 2>/dev/null | openssl x509 -noout -serial -issuer"
    said = site.on("one", ask)
    assert "Issuing kubernetes" in said
    return said
