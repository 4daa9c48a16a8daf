"""The complete artifacts of the seven machines of inventories/lab.yaml, as files below golden/.

Placeholders stand in them by name. To write them anew after a change: python tests/phases/golden.py
"""

import shutil
from pathlib import Path

from phase_models import cluster, model

from hardway.declare.declaration import declare
from hardway.declare.phases.base import Model
from hardway.declare.resources import ApiObjects, Block, File, WorkspaceFile

GOLDEN = Path(__file__).parent / "golden"


def artifacts(of: Model) -> dict[str, str]:
    """Text by MACHINE/PATH, API objects as MACHINE/objects/TITLE.yaml, the workspace's texts below operator/."""
    declaration = declare(of)
    texts = {}
    for placed in declaration.placed:
        match placed.resource:
            case File(path=path, text=text, mode=mode, owner=owner):
                texts[f"{placed.machine}{path}"] = text
                texts.setdefault(f"{placed.machine}/MODES", "")
                texts[f"{placed.machine}/MODES"] += f"{mode:04o} {owner:<5} {path}\n"
            case Block(path=path, text=text):
                texts[f"{placed.machine}{path}.block"] = text
            case ApiObjects(title=title, manifest=manifest):
                texts[f"{placed.machine}/objects/{title}.yaml"] = manifest
    for _, local in declaration.local:
        if isinstance(local, WorkspaceFile):
            # A real .gitignore here would hide its neighbours from git.
            texts[f"operator/{local.path.replace('.gitignore', 'dot-gitignore')}"] = local.text
    return texts


def lab() -> dict[str, str]:
    return artifacts(model(cluster("lab")))


def kept() -> dict[str, str]:
    """What lies below golden/ now."""
    files = (path for path in GOLDEN.rglob("*") if path.is_file())
    return {str(path.relative_to(GOLDEN)): path.read_text(encoding="utf-8") for path in files}


def regenerate() -> None:
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for name, text in lab().items():
        path = GOLDEN / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    regenerate()
