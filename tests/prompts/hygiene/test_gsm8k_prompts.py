"""GSM8K's train prompts, cleaned against its test split; the data lies beside the project."""

from pathlib import Path

import pytest

from engine.prompts import hygiene
from engine.prompts.splits import load
from engine.step import Silent
from fakes import spec_of

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not (DATA / "gsm8k_test.jsonl").is_file(), reason="GSM8K is not beside the project (../shared/data)")


def test_gsm8k_against_its_test_split():
    files = {"train": str(DATA / "gsm8k_train.jsonl"), "test": str(DATA / "gsm8k_test.jsonl")}
    spec = spec_of(prompts=files | {"fields": {"template": "{question}"}, "hygiene": {"decontaminate": {}, "near": {}}})
    splits = load(spec.prompts, DATA)
    scene = hygiene.Scene(1, DATA / "spec.yaml", Silent(), held={"gate": [], "test": splits.test})
    kept, dropped = hygiene.clean(splits.train, spec.prompts, scene)
    assert (len(splits.train), len(kept), len(dropped)) == (7473, 7469, 4)
    assert [row["rule"] for row in dropped] == ["decontaminate"] * 3 + ["near"]
    assert {row["suite"] for row in dropped[:3]} == {"test"} and all(row["value"] > 0.5 for row in dropped[:3])
    asked = {row["prompt_id"]: row["messages"][0]["content"] for row in splits.train + splits.test}
    # one problem with another name
    assert asked[dropped[3]["prompt_id"]].replace("Amanda", "Josie") == asked[dropped[3]["twin_id"]]
    report = scene.detail["decontaminate"]["test"]
    assert (report["items"], report["matched"], report["over_limit"]) == (1319, 2, False)
