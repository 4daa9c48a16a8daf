"""What `upgrade plan` prints."""

from __future__ import annotations

from hardway.console.words import counted
from hardway.status.upgrade import Obstacle, UpgradePlan
from hardway.values import minor


def upgrade_page(plan: UpgradePlan) -> list[str]:
    lines = [f"{plan.cluster}  Kubernetes {plan.have} → {plan.to}", ""]
    for name, version in plan.servers.items():
        emulates = f", behaves as {plan.behaves}" if plan.behaves != minor(version) else ""
        lines.append(f"  {name}: API server {version}{emulates}")
    lines += [f"  {name}: kubelet {version}" for name, version in plan.nodes.items()]
    lines += [f"  {name}: {before} → {after}" for name, (before, after) in plan.changes.items()]
    lines.append(f"  newest snapshot: {plan.snapshot or 'none'}")
    warnings = [one for one in plan.obstacles if one.level == "warning"]
    for title, found in (("blocker", plan.blockers), ("warning", warnings)):
        if found:
            lines += ["", f"{counted(len(found), title)}:", *(line for one in found for line in _said(one))]
    if not plan.blockers:
        lines += ["", "Nothing to upgrade." if plan.have == plan.to else "Run: hardway upgrade apply"]
    return lines


def _said(one: Obstacle) -> list[str]:
    where = f"{one.machine}: " if one.machine else ""
    return [f"  {where}{one.what}", f"    next: {one.fix}"]
