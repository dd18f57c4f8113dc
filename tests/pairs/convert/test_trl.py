"""Rows of pairs and selected as TRL's data sets and back, and TRL's own trainers on them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from engine.errors import DataError
from engine.pairs.convert.trl import from_trl, to_trl
from engine.tables import TABLES
from train_small import untrained


def said(text, weight=1.0, role="assistant", origin="given"):
    return {"role": role, "content": text, "origin": origin if role == "assistant" and weight else "prompt", "weight": weight}


def pair(name, good, bad, **more):
    row = {"row_id": name, "prompt_id": f"of {name}", "messages": [said(f"Add {name}.", 0.0, "user")], "weight": 1.0}
    sides = {"chosen": [said(good)], "rejected": [said(bad)], "chosen_id": f"{name}-0", "rejected_id": f"{name}-1"}
    return row | sides | {"origin": "generation", "source_round": 2} | more


def pairs(*rows):
    return pa.Table.from_pylist(list(rows), schema=TABLES["pairs"].columns)


def demonstrations(*rows):
    own = {"weight": 0.5, "origin": "gold", "source_round": 1}
    return pa.Table.from_pylist([own | row for row in rows], schema=TABLES["selected"].columns)


THREE = (
    pair("a", " 1", " 2", margin=1.5, probability=0.75, extra=[("win_chosen", 0.5), ("win_rejected", 0.25)]),
    pair("b", " 3", " 4", reason="best", extra=[("ches", -3.0)]),
    pair("c", " 5", " 6", third=[said(" 7")], third_id="c-2", weight=0.25),
)


@pytest.mark.parametrize("form", ["conversational", "plain"])
def test_pairs_go_to_trl_and_back(form):
    rows = pairs(*THREE)
    made = to_trl(rows, form=form)
    assert (len(made), made[0]["prompt"]) == (3, [{"role": "user", "content": "Add a."}] if form == "conversational" else "Add a.")
    assert from_trl(made).equals(rows)
    assert not {"third", "ref_chosen_logps"} & set(to_trl(pairs(THREE[0])).column_names)
    referred = pairs(*(row | {"ref_chosen_logps": -1.25, "ref_rejected_logps": -2.5} for row in THREE))
    assert from_trl(to_trl(referred, form=form)).equals(referred)


def test_several_turns_go_to_trl_and_back():
    turns = [said(" call"), said("5", 0.0, "tool"), said(" five")]
    rows = pairs(pair("a", "", " 2", messages=[said("be brief", 0.0, "system"), said("Add.", 0.0, "user")], chosen=turns))
    assert from_trl(to_trl(rows)).equals(rows)
    with pytest.raises(DataError, match=r"row a: plain text holds one message of role user, found \['system', 'user'\]"):
        to_trl(rows, form="plain")


def test_demonstrations_go_to_trl_and_back():
    told = [said("Add.", 0.0, "user"), said(" 5")]
    rows = demonstrations(
        {"row_id": "a", "prompt_id": "p", "messages": told, "rank": 1, "extra": [("anchor", -1.25)]},
        {"row_id": "b", "prompt_id": "q", "messages": [said("hm", 0.0), *told], "label": "gold", "order": 2.0},
    )
    assert from_trl(to_trl(rows)).equals(rows)
    labelled = demonstrations(*({"row_id": n, "prompt_id": "p", "messages": told, "label": n} for n in ("desirable", "undesirable")))
    made = to_trl(labelled, "unpaired", "plain")
    assert made["label"][:] == [True, False] and from_trl(made).equals(labelled)


def test_pairs_unpaired_are_two_rows_each():
    made = to_trl(pairs(*THREE), "unpaired")
    assert (len(made), made["label"][:2]) == (6, [True, False])
    assert [row["completion"][0]["content"] for row in made] == [" 1", " 2", " 3", " 4", " 5", " 6"]


def test_data_sets_of_others_get_ids_of_their_own():
    from datasets import Dataset

    rows = [{"prompt": "sky?", "chosen": " blue", "rejected": " green"}, {"prompt": "grass?", "chosen": " green", "rejected": " blue"}]
    found = from_trl(Dataset.from_list(rows), round_=3)
    assert len(set(found["row_id"].to_pylist())) == 2 and set(found["source_round"].to_pylist()) == {3}
    assert found["row_id"].equals(from_trl(Dataset.from_list(rows), round_=3)["row_id"])
    chat = [{"messages": [{"role": "user", "content": "sky?"}, {"role": "assistant", "content": " blue"}]}]
    told = from_trl(Dataset.from_list(chat)).to_pylist()[0]
    assert [(m["content"], m["weight"]) for m in told["messages"]] == [("sky?", 0.0), (" blue", 1.0)] and told["origin"] == "given"


def test_what_a_type_cannot_hold_is_an_error_that_names_the_row():
    half = pairs(THREE[0], pair("b", " 3", " 4", chosen=[said(" 3", 0.5)]))
    with pytest.raises(DataError, match=r"row b: a message of role assistant has the weight 0.5"):
        to_trl(half)
    with pytest.raises(DataError, match="row a: no ref_chosen_logps, and other rows have it"):
        to_trl(pairs(THREE[0], THREE[1] | {"ref_chosen_logps": -1.0}))
    with pytest.raises(DataError, match="a table of pairs makes no prompt-completion data set"):
        to_trl(half, "prompt-completion")
    unlabelled = demonstrations({"row_id": "a", "prompt_id": "p", "messages": [said("Add.", 0.0, "user"), said(" 5")]})
    with pytest.raises(DataError, match="row a: expected the label desirable or undesirable, found None"):
        to_trl(unlabelled, "unpaired")
    with pytest.raises(DataError, match="row a: expected a prompt and messages that train"):
        to_trl(demonstrations({"row_id": "a", "prompt_id": "p", "messages": [said("Add.", 0.0, "user")]}))


def test_what_is_no_data_set_of_trl_is_an_error():
    from datasets import Dataset

    with pytest.raises(DataError, match=r"expected chosen and rejected, prompt and completion, or messages; found \['text'\]"):
        from_trl(Dataset.from_list([{"text": "a"}]))
    good = {"row_id": "x", "prompt": "a", "chosen": "b", "rejected": "c"}
    with pytest.raises(DataError, match="the table pairs has no column length"):
        from_trl(Dataset.from_list([good | {"length": 3}]))
    with pytest.raises(DataError, match="row y: expected rejected"):
        from_trl(Dataset.from_list([good, good | {"row_id": "y", "rejected": ""}]))


@pytest.mark.parametrize("kind", ["preference", "unpaired"])
def test_trl_trains_a_step_on_what_is_exported(tmp_path, kind):
    import math

    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

    config, trainer = {"preference": (DPOConfig, DPOTrainer), "unpaired": (KTOConfig, KTOTrainer)}[kind]
    model = untrained(tmp_path / "model")
    made = to_trl(pairs(*THREE[:1], pair("b", " 3 and a bit", " 4"), pair("d", " 8", " 9")), kind, "plain")
    args = config(
        output_dir=str(tmp_path / "out"),
        max_steps=1,
        per_device_train_batch_size=2,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_length=64,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
    )
    tokenizer = AutoTokenizer.from_pretrained(model)
    result = trainer(model=AutoModelForCausalLM.from_pretrained(model), args=args, train_dataset=made, processing_class=tokenizer).train()
    expected = {"preference": math.log(2), "unpaired": 0.5}[kind]  # the policy is the reference
    assert result.global_step == 1 and result.training_loss == pytest.approx(expected, abs=1e-4)
