import json
import math
from dataclasses import replace

import pytest

from engine import models
from engine.errors import DataError, SpecError, StepError
from engine.rows import content_hash
from engine.spec import Lora
from engine.train import objective
from engine.train.online.advantages import standardised
from fakes import spec_of
from online_small import SCORE, again, online, run
from train_small import CPU, settings, untrained


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, model):
    return run(online(tmp_path_factory.mktemp("whole"), model, epochs=2))


def answers(made):
    return made.tables["generations", "train"].to_pylist()


def logged(made, metric):
    return [row["value"] for row in made.log if row["metric"] == metric]


def test_the_rows_are_the_answers_in_the_order_of_the_steps(trained, model):
    rows = answers(trained)
    assert trained.row_ids == [row["generation_id"] for row in rows]
    assert trained.rows_expected == trained.rows_trained == 4 * 4 * 4
    assert trained.tokens == sum(row["prompt_tokens"] + row["response_tokens"] for row in rows)
    assert {row["model"] for row in rows} == {models.digest(model)} != {models.digest(trained.folder)}
    assert [json.loads(row["meta"])["step"] for row in rows] == [step for step in range(4) for _ in range(16)]
    assert [row["sample"] for row in rows] == [sample for visit in (0, 4) for _ in range(8) for sample in range(visit, visit + 4)]
    assert all(row["tokens"] is None for row in rows)


def test_scores_stand_beside_the_answers(trained):
    rows = {row["generation_id"]: row for row in answers(trained)}
    scores = {row["item_id"]: row["value"] for row in trained.tables["scores", "train/score"].to_pylist()}
    verdicts = {row["item_id"]: row["value"] for row in trained.tables["scores", "train/seven"].to_pylist()}
    assert scores == verdicts == {name: float("7" in row["response"]) for name, row in rows.items()}
    for step in range(16):
        own = [json.loads(row["meta"]) for row in answers(trained)[4 * step : 4 * step + 4]]
        rewards = [one["reward"] for one in own]
        assert rewards == [scores[name] for name in trained.row_ids[4 * step : 4 * step + 4]]
        assert [one["advantage"] for one in own] == pytest.approx(standardised(rewards, "population"), abs=1e-6)
    means = [math.fsum(scores[name] for name in trained.row_ids[16 * step : 16 * step + 16]) / 16 for step in range(4)]
    assert logged(trained, "reward") == pytest.approx(means)
    groups = [json.loads(row["meta"])["reward"] for row in answers(trained)]
    flat = [len(set(groups[4 * i : 4 * i + 4])) == 1 for i in range(16)]
    assert logged(trained, "frac_zero_std") == pytest.approx([sum(flat[4 * i : 4 * i + 4]) / 4 for i in range(4)])


def test_the_log_has_what_a_run_is_read_by(trained):
    names = {row["metric"] for row in trained.log}
    assert names >= {
        "loss",
        "reward",
        "reward_std",
        "frac_zero_std",
        "completion_length",
        "truncated",
        "entropy",
        "clip_ratio",
        "grad_norm",
    }
    assert {row["step"] for row in trained.log} == {1, 2, 3, 4}
    # each answer's mean advantage is 0 in its group, and the ratio is 1 on the first step
    assert logged(trained, "loss") == pytest.approx([0] * 4, abs=1e-6)


def test_answers_do_not_depend_on_the_batch(tmp_path, model, trained):
    job = online(tmp_path, model, epochs=2, spec={"generate": {"samples": 4, "max_tokens": 6, "batch": 3}})
    made = run(job)
    assert content_hash("generations", made.tables["generations", "train"]) == content_hash(
        "generations", trained.tables["generations", "train"]
    )
    assert models.digest(made.folder) == models.digest(trained.folder)


def test_later_answers_are_those_of_weights_that_have_moved(tmp_path, model, trained):
    still = run(online(tmp_path, model, epochs=2, learning_rate=1e-12))
    assert [row["response"] for row in answers(still)[:16]] == [row["response"] for row in answers(trained)[:16]]
    assert [row["response"] for row in answers(still)[16:]] != [row["response"] for row in answers(trained)[16:]]
    assert logged(still, "kl") == []


def test_it_learns(tmp_path, model):
    made = run(online(tmp_path, model, epochs=10, learning_rate=2e-2))
    rewards = logged(made, "reward")
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.15


@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(tmp_path, model, name):
    given = {"reference": "base", "params": {"beta": 0.1, "iterations": 2}, "max_steps": 2}
    whole = run(online(tmp_path / "whole", model, name, **given))
    cut = run(online(tmp_path / "cut", model, name, micro_batch=5, **given))
    for metric in {row["metric"] for row in whole.log}:
        assert logged(cut, metric) == pytest.approx(logged(whole, metric), rel=1e-3, abs=1e-5), metric


@pytest.mark.parametrize("loss", ["bnpo", "dr_grpo", "dapo"])
def test_every_loss_in_parts(tmp_path, model, loss):
    given = {"params": {"loss": loss, "std": "none", "iterations": 2}, "max_steps": 2}
    whole = run(online(tmp_path / "whole", model, **given))
    cut = run(online(tmp_path / "cut", model, micro_batch=7, **given))
    for metric in ("loss", "grad_norm", "entropy", "clip_ratio"):
        assert logged(cut, metric) == pytest.approx(logged(whole, metric), rel=1e-3, abs=1e-5), metric


def test_the_divergence_is_from_the_reference(tmp_path, model):
    other = run(online(tmp_path / "other", model, epochs=4)).folder
    from_itself = run(online(tmp_path / "itself", model, reference="base", params={"beta": 0.1}, max_steps=1))
    from_other = run(online(tmp_path / "away", model, reference="base", beside=other, params={"beta": 0.1}, max_steps=1))
    assert logged(from_itself, "kl") == pytest.approx([0], abs=1e-6)
    assert logged(from_other, "kl")[0] > 0.01
    # rloo takes it off the reward: with a large beta the advantages are no longer those of the scores
    plain = run(online(tmp_path / "plain", model, "rloo", max_steps=1))
    taxed = run(online(tmp_path / "taxed", model, "rloo", reference="base", beside=other, params={"beta": 10.0}, max_steps=1))
    rewards, costs = ([json.loads(row["meta"]) for row in answers(made)] for made in (plain, taxed))
    assert [one["reward"] for one in rewards] == [one["reward"] for one in costs]
    assert [one["advantage"] for one in rewards] != [one["advantage"] for one in costs]


def test_rewards_can_be_shaped(tmp_path, model):
    made = run(online(tmp_path, model, params={"scale": 10.0, "missing_eos": -3.0, "max_tokens": 3}, max_steps=1))
    found = {(row["finish_reason"] == "stop", "7" in row["response"]): json.loads(row["meta"])["reward"] for row in answers(made)}
    assert {reward for (ended, _), reward in found.items() if not ended} == {-3.0}
    assert all(reward == 10.0 * right for (ended, right), reward in found.items() if ended)
    assert logged(made, "completion_length")[0] <= 3


def test_answers_that_were_cut_off_may_train_no_token(tmp_path, model):
    made = run(online(tmp_path, model, params={"mask_truncated": True, "max_tokens": 1}, max_steps=2))
    ended = [row["finish_reason"] == "stop" for row in answers(made)]
    assert not any(ended)
    assert logged(made, "grad_norm") == [0, 0]
    assert logged(made, "loss") == [0, 0]


def test_tokens_are_kept_where_the_spec_says_so(tmp_path, model):
    made = run(online(tmp_path, model, max_steps=1, spec={"generate": {"samples": 2, "max_tokens": 6, "keep_tokens": True}}))
    assert all(len(row["tokens"]) == row["response_tokens"] for row in answers(made))


def test_an_adapter_trains_and_samples(tmp_path, model):
    made = run(online(tmp_path, model, lora=Lora(r=2), reference="base", params={"beta": 0.1}, learning_rate=5e-2))
    rows = answers(made)
    still = run(online(tmp_path / "still", model, lora=Lora(r=2), reference="base", params={"beta": 0.1}, learning_rate=1e-12))
    assert [row["response"] for row in rows[16:]] != [row["response"] for row in answers(still)[16:]]
    assert logged(made, "kl")[-1] > 0


def test_another_role_has_parts_of_its_own(tmp_path, model):
    job = again(online(tmp_path, model, max_steps=1), role="arm")
    assert set(run(replace(job, label="checkpoint_arm")).tables) == {
        ("generations", "train/arm"),
        ("scores", "train/arm/score"),
        ("scores", "train/arm/seven"),
    }


def test_a_prompt_that_leaves_no_room_is_found_before_anything_is_sampled(tmp_path, model):
    with pytest.raises(StepError, match=r"may have \d+ tokens, allowed are 8"):
        run(online(tmp_path, model, max_length=8))
    job = online(tmp_path, model)
    rows = job.rows.to_pylist()
    rows[3]["messages"] = [{"role": "user", "content": "Add 1 and 2. " * 40}]
    with pytest.raises(DataError, match="prompt p03"):
        run(replace(job, rows=job.rows.from_pylist(rows, schema=job.rows.schema)))
    assert not (tmp_path / "journal" / "rollouts").exists()


@pytest.mark.parametrize(
    ("spec", "train", "match"),
    [
        ({"score": []}, {}, "there is no scorer"),
        ({"score": [{"measure": "logprob", "name": "likely"}], "combine": "likely"}, {}, "likely is a measure"),
        ({"combine": "seven - avg(seven) over (partition by prompt_id)"}, {}, "looks at other answers"),
        ({"generate": {"temperature": 0}}, {}, "temperature"),
        ({"generate": {"samples": 1}}, {}, "generate.samples is 1"),
        ({}, {"data": "cumulative"}, "train.data"),
        ({}, {"select": {"sql": "select/raft.sql"}}, "train.select"),
        ({}, {"reference": "base"}, "beta is 0"),
    ],
)
def test_settings_that_cannot_work(tmp_path, spec, train, match):
    train = settings(objective="grpo", **train)
    whole = spec_of(train=[train.model_dump()], **({"score": SCORE, "generate": {"samples": 4}} | spec))
    with pytest.raises(SpecError, match=match):
        objective(train).check(whole, train, tmp_path / "spec.yaml")


def test_a_divergence_needs_one_reference():
    for reference, match in (("none", "found none"), ({"base": 0.5, "previous": 0.5}, "one model and no mixture")):
        with pytest.raises(SpecError, match=match):
            objective(settings(objective="rloo", reference=reference, params={"beta": 0.1}))
    assert objective(settings(objective="rloo")).compares == "none"


def test_log_probabilities_are_those_of_each_row_alone(tmp_path, model):
    """From the logits or from TRL's head in tiles, whatever the padding on the left."""
    import torch
    from trl.trainer.utils import add_fused_lm_head

    from engine.train.online import trainer as own
    from engine.train.online.tensors import answers as tensors

    class Asked(own.GrpoTrainer):
        def __init__(self, weights, keeps):
            self._keeps_logits, self._vocabulary, self.temperature = keeps, weights.lm_head.weight.shape[0], 0.7
            self.accelerator = type("A", (), {"autocast": lambda self: torch.autocast("cpu", enabled=False)})()

    weights, _ = models.load(model, CPU)
    add_fused_lm_head(weights, temperature=0.7, outputs=("log_probs", "entropy"))
    prompts, drawn = [[5, 6, 7, 8, 9], [4], [11, 12]], [[3, 9], [8, 7, 6, 5], [2]]
    whole = tensors(prompts, drawn, [True] * 3, pad=0, device="cpu")
    found = [
        Asked(weights, keeps)._get_per_token_logps_and_entropies(weights, whole.ids, whole.mask, 4, compute_entropy=True)
        for keeps in (True, False)
    ]
    for i, (prompt, said) in enumerate(zip(prompts, drawn, strict=True)):
        logits = weights(torch.tensor([[*prompt, *said]])).logits[0, len(prompt) - 1 : -1].double() / 0.7
        expected = logits.log_softmax(1)
        for logps, entropies, aux in found:
            assert aux is None
            assert logps[i, : len(said)].tolist() == pytest.approx(expected.gather(1, torch.tensor(said)[:, None])[:, 0].tolist(), abs=1e-5)
            assert entropies[i, : len(said)].tolist() == pytest.approx((-(expected.exp() * expected).sum(1)).tolist(), abs=1e-5)
