"""The gate as an asset check on `promotion`: red while the latest decision holds a checkpoint back."""

from typing import Any

from dagster import AssetCheckResult, AssetChecksDefinition, AssetCheckSeverity, AssetKey, asset_check

from assets.resources import Rondo
from engine.experiment import Experiment, key
from engine.promotion import EFFECTIVE

GATE = "gate"


def gate(promotion: AssetKey, path: str) -> AssetChecksDefinition:
    """The check of one experiment: unpartitioned and not blocking, since a held decision must still be written."""

    @asset_check(asset=promotion, name=GATE, blocking=False, description="The latest decision lets the checkpoint become the policy.")
    def check(rondo: Rondo) -> AssetCheckResult:
        return AssetCheckResult(**judge(rondo.experiment(path)))

    return check


def judge(experiment: Experiment) -> dict[str, Any]:
    """Whether the latest decision that counts lets a model go on, with the reason: the arguments of an AssetCheckResult."""
    decisions = [d for d in experiment.state().decisions() if d.role == "policy"]
    if not decisions:
        none = {"severity": AssetCheckSeverity.WARN, "description": "no round is decided yet"}
        return {"passed": False, "metadata": {"sequence": -1}} | none
    last = decisions[-1]
    told = {"round": key(last.round), "decision": last.decision, "checkpoint": last.digest, "by": last.decided_by}
    return {
        "passed": last.decision in EFFECTIVE,
        "severity": AssetCheckSeverity.ERROR,
        "description": f"round {key(last.round)} {last.decision}: {last.reason}",
        "metadata": {**told, "sequence": last.sequence},
    }
