"""Values of the reference in `extra` of `selected`: a whole tiny experiment with kto, and what the step asks for."""

from __future__ import annotations

import pyarrow as pa
import pytest
import torch

from engine import models
from engine.errors import SpecError
from engine.select.steps import SelectedStep, steps
from engine.spec import Spec
from engine.step import Device, Ref
from engine.train import mismatched
from loop_home import YAML, load, write

CPU = Device("cpu", 1, "float32")
OLD = "{init: previous, reference: none, data: cumulative, max_steps: 8, batch_size: 8, learning_rate: 1e-2, max_length: 64, save_every: 3}"
NEW = "{objective: kto, init: previous, reference: previous, data: last-1, max_steps: 4, batch_size: 8, learning_rate: 1e-3}"
KTO = YAML.replace(OLD, NEW).replace(
    "select: {sql: select/random.sql, params: {per_prompt: 1}}", "select: {sql: select/kto.sql, params: {desirable: 0.5, per_label: 1}}"
)


def spec_of(text: str) -> Spec:
    import yaml

    return Spec.model_validate(yaml.safe_load(text))


def sums(folder, rows: pa.Table, how) -> list[float]:
    """Log-probabilities of the answers under a model, one row at a time."""
    from engine.train.running import encoder

    model, tokenizer = models.load(folder, CPU)
    found = []
    for example in encoder(model, tokenizer, mask=how.mask, chat=None, longest=how.max_length).encode(rows, cut=True):
        ids = torch.from_numpy(example.ids)
        with torch.no_grad():
            logps = model(ids[None]).logits[0, :-1].double().log_softmax(-1).gather(1, ids[1:, None])[:, 0]
        found.append(float((logps * torch.from_numpy(example.weights[1:])).sum()))
    return found


def test_two_rounds_of_kto_read_their_reference(tmp_path):
    assert NEW in KTO and "kto.sql" in KTO
    write(tmp_path, KTO)
    experiment = load(tmp_path, "rounds=2")
    experiment.run()
    how = experiment.spec.train[0]
    for round_ in (0, 1):
        rows = experiment.lake.read("selected", experiment="loop", rounds=[round_], part="policy")
        assert set(rows["label"].to_pylist()) <= {"desirable", "undesirable"}
        assert set(rows["source_round"].to_pylist()) == set(range(round_ + 1))
        previous = experiment.lake.read("checkpoints", experiment="loop", rounds=[round_ - 1], part="policy")["path"][0].as_py()
        folder = experiment.home.root / previous
        extra = [dict(row) for row in rows["extra"].to_pylist()]
        # rounded to two decimals; carried rows are read anew by this round's reference
        assert [row["ref_logps"] for row in extra] == pytest.approx(sums(folder, mismatched.unweighted(rows), how), abs=0.0051)
        others = mismatched.rows(rows, how, experiment.spec.seed, round_)
        assert [row["ref_kl_logps"] for row in extra] == pytest.approx(sums(folder, others, how), abs=0.0051)
        log = experiment.lake.read("training_log", experiment="loop", rounds=[round_], part="policy").to_pylist()
        first = {row["metric"]: row["value"] for row in log}
        assert {"kl", "loss", "nll"} <= set(first)


def test_the_step_names_the_models_that_it_reads():
    given = spec_of(KTO.replace("reference: previous", "reference: {base: 0.5, previous: 0.5}"))
    (step,) = [one for one in steps(given) if isinstance(one, SelectedStep)]
    assert step.on_device
    refs = step.reads(given, 1)
    assert Ref("policy") in refs and Ref("checkpoints", "policy", "base") in refs
    plain = spec_of(YAML)
    (other,) = [one for one in steps(plain) if isinstance(one, SelectedStep)]
    assert not other.on_device and Ref("policy") not in other.reads(plain, 1)


def test_what_the_values_depend_on_is_in_the_fingerprint(tmp_path):
    def settings(text: str):
        step = SelectedStep("policy", tmp_path / "x.yaml")
        return step.settings(spec_of(text), 1, tmp_path / "x.yaml")

    base = settings(KTO)
    assert base["weights"] == {"previous": 1.0}
    assert settings(KTO.replace("batch_size: 8, learning_rate: 1e-3", "batch_size: 4, learning_rate: 1e-3")) != base  # other partners
    assert settings(KTO.replace("learning_rate: 1e-3", "learning_rate: 1e-4")) == base
    alone = KTO.replace("objective: kto", "objective: kto, params: {kl: none}")
    assert settings(alone) == settings(alone.replace("batch_size: 8, learning_rate: 1e-3", "batch_size: 4, learning_rate: 1e-3"))
    assert not {"weights", "mask", "max_length"} & settings(YAML).keys()


def test_worked_examples_of_a_base_have_no_label(tmp_path):
    write(tmp_path, KTO.replace("last-1", "cumulative"))
    with pytest.raises(SpecError, match="kto needs a label of every row"):
        load(tmp_path).run()
