from collections import Counter

import pytest
import torch

from engine import models
from engine.errors import StepError
from engine.parts.continuing import Half
from engine.train.halving import ATTENTION, FEED, chosen, freeze
from train_small import CPU, job, sft, untrained


def names(blocks):
    own = [f"self_attn.{name}" for name in ATTENTION] + [f"mlp.{name}" for name in FEED] + ["input_layernorm", "post_attention_layernorm"]
    return ["model.embed_tokens", *(f"model.layers.{i}.{name}" for i in range(blocks) for name in own), "model.norm", "lm_head"]


def kinds(frozen):
    return Counter("norm" if n.endswith("norm") else "attention" if ".self_attn." in n else "feed" if ".mlp." in n else n for n in frozen)


def test_half_of_every_kind_is_frozen_in_32_blocks():
    frozen = chosen(names(32), Half(), seed=1, round_=0)
    assert kinds(frozen) == {"attention": 64, "feed": 48, "norm": 32}  # of 128, 96 and 65
    for i in range(32):
        assert sum(name.startswith(f"model.layers.{i}.self_attn") for name in frozen) == 2
    per_block = Counter(sum(name.startswith(f"model.layers.{i}.mlp") for name in frozen) for i in range(32))
    assert per_block == {2: 16, 1: 16}
    assert kinds(chosen(names(32), Half(norms="train"), seed=1, round_=0)) == {"attention": 64, "feed": 48}


def test_an_odd_block_freezes_two_and_one_in_turn():
    counts = [kinds(chosen(names(1), Half(), seed=1, round_=r))["feed"] for r in range(4)]
    assert sorted(counts[:2]) == [1, 2] and counts[:2] == counts[2:]


def test_the_choice_is_the_seeds_and_the_rounds():
    every = names(32)
    first, again, later, other = (chosen(every, Half(), seed=s, round_=r) for s, r in ((1, 0), (1, 0), (1, 1), (2, 0)))
    assert first == again
    for second in (later, other):
        trained = set(every) - first, set(every) - second
        assert 0.35 < len(trained[0] & trained[1]) / len(trained[0]) < 0.65
    by_kind = Counter(name.rpartition(".")[2] for r in range(20) for name in chosen(every, Half(), seed=1, round_=r))
    assert all(250 < by_kind[name] < 390 for name in (*ATTENTION, *FEED))  # 320 each were they equally likely


@pytest.mark.parametrize("embeddings", ["train", "freeze"])
def test_frozen_tensors_keep_their_bits_and_the_others_move(tmp_path, embeddings):
    folder = untrained(tmp_path / "model")
    trained = sft(job(tmp_path, folder, half={"embeddings": embeddings}, weight_decay=0.1, max_steps=3))
    before, after = (dict(models.load(path, CPU)[0].named_parameters()) for path in (folder, trained.folder))
    same = sorted(name for name, weight in before.items() if torch.equal(weight, after[name]))
    assert same == trained.settings["frozen"] == trained.detail["frozen"]
    assert ("model.embed_tokens.weight" in same) == (embeddings == "freeze")  # tied with the head: one tensor
    assert sorted(trained.detail["trained_tensors"]) == sorted(set(before) - set(same))
    assert sum(".self_attn." in name for name in same) == 2


def test_models_of_another_build_are_refused():
    from transformers import GPT2Config, GPT2LMHeadModel

    with pytest.raises(StepError, match="expected q_proj, k_proj, v_proj, o_proj in every block"):
        freeze(GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=10, n_positions=8)), Half(), seed=1, round_=0)
