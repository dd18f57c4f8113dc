"""Each rule of hygiene on rows, their order, and what a drop says."""

import json

import pytest

from engine.errors import DataError, SpecError, StepError
from engine.prompts import hygiene
from engine.prompts.hygiene import Drop, Scene
from engine.prompts.splits import load
from engine.step import Silent
from fakes import spec_of

LONG = "Anna has {n} red apples and gives some of them to her brother Tom who lives next door in the old house by the river"


class Notes(Silent):
    """Keeps the lines that stay."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def write(folder, name, rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def clean(folder, rows, held=(), **settings):
    """(texts that stay, dropped rows, the scene) of a pool of `rows`, texts or dicts."""
    rows = [{"question": row} if isinstance(row, str) else row for row in rows]
    write(folder, "train.jsonl", rows)
    spec = spec_of(prompts={"train": "train.jsonl", "fields": {"template": "{question}"}, "hygiene": settings})
    splits = load(spec.prompts, folder)
    gate = [{"prompt_id": f"held{i}", "source": "", "messages": [{"role": "user", "content": text}]} for i, text in enumerate(held)]
    scene = Scene(1, folder / "spec.yaml", Notes(), held={"gate": gate, "test": []})
    hygiene.check(spec, scene, splits.train)
    kept, dropped = hygiene.clean(splits.train, spec.prompts, scene)
    text_of = {row["prompt_id"]: row["messages"][0]["content"] for row in splits.train}
    for row in dropped:
        row["text"] = text_of[row["prompt_id"]]
        row["twin"] = text_of.get(row["twin_id"], row["twin_id"])
    assert len(kept) + len(dropped) == len(splits.train)
    return [row["messages"][0]["content"] for row in kept], dropped, scene


def test_length(tmp_path):
    kept, dropped, _ = clean(tmp_path, ["one", "one two", "one two three", "a b c d"], min_words=2, max_words=3)
    assert kept == ["one two", "one two three"]
    assert [(row["rule"], row["value"], row["reason"]) for row in dropped] == [
        ("length", 1.0, "1 words, fewer than 2"),
        ("length", 4.0, "4 words, more than 3"),
    ]


def test_language(tmp_path):
    texts = {
        "Natalia sold clips to 48 of her friends in April.": "en",
        "Natalia hat im April Spangen an 48 Freundinnen verkauft.": "de",
        "Natalia a vendu des pinces à 48 de ses amies en avril.": "fr",
        "12+1=": "unsure",
    }
    kept, dropped, scene = clean(tmp_path, list(texts), languages=["en", "de"])
    assert [texts[text] for text in kept] == ["en", "de", "unsure"]
    assert dropped[0]["rule"] == "language" and "in fr" in dropped[0]["reason"] and dropped[0]["value"] > 0.5
    assert scene.detail["language"] == {"found": {"de": 1, "en": 1, "fr": 1}, "unsure": 1}
    with pytest.raises(SpecError, match="no language 'english'"):
        clean(tmp_path, ["a"], languages=["english"])


def test_near(tmp_path):
    first, second, third = LONG.format(n=3), LONG.format(n=4), "Something else entirely that shares no run of five words at all"
    kept, dropped, scene = clean(tmp_path, [first, third, second], near={"threshold": 0.6})
    assert kept == [first, third]
    # 21 shingles each, 3 of them with the number: 18 of 24 are shared, 0.75
    assert [(row["text"], row["twin"], row["value"], row["suite"]) for row in dropped] == [(second, first, pytest.approx(18 / 24), None)]
    assert scene.detail["near"] == {"pairs_compared": 1, "pairs_skipped": 0}


def test_a_system_message_makes_no_prompts_alike(tmp_path):
    write(tmp_path, "train.jsonl", [{"question": "What is one plus one?"}, {"question": "Name a river in France."}])
    fields = {"template": "{question}", "system": LONG * 5}
    spec = spec_of(prompts={"train": "train.jsonl", "fields": fields, "hygiene": {"near": {}, "min_words": 5, "max_words": 5}})
    kept, dropped = hygiene.clean(load(spec.prompts, tmp_path).train, spec.prompts, Scene(1, tmp_path / "s", Silent()))
    assert len(kept) == 2 and not dropped


def test_semantic(tmp_path):
    rows = [f"How many {thing} are in the basket of Anna today?" for thing in ("apples", "rivers", "stones")]
    twin = rows[0].replace("many", "Many")
    kept, dropped, scene = clean(tmp_path, [*rows, twin], semantic={"clusters": 1})
    assert len(kept) == 3 and {row["text"] for row in dropped} < {rows[0], twin}
    assert dropped[0]["twin"] in (rows[0], twin) and dropped[0]["value"] == pytest.approx(1.0) and dropped[0]["rule"] == "semantic"
    assert scene.detail["semantic"] == {"clusters": 1, "largest": 4}
    with pytest.raises(SpecError, match="embedder"):
        clean(tmp_path, ["a"], semantic={"embedder": "hashed_ngram"})


def test_a_chain_of_likenesses_ends_at_what_stays(tmp_path):
    words = [f"word{i}" for i in range(20)]
    rows = [" ".join(words[i : i + 16]) for i in range(4)]
    kept, dropped, _ = clean(tmp_path, rows, semantic={"clusters": 1, "eps": 0.2, "keep": "easy"})
    assert len(kept) + len(dropped) == 4 and dropped
    assert {row["twin"] for row in dropped} <= set(kept)


def test_decontamination_by_set(tmp_path):
    item = LONG.format(n=7)
    write(tmp_path, "eval.jsonl", [{"question": item}, *({"question": f"Item {i} of this set"} for i in range(9))])
    write(tmp_path, "other.jsonl", [{"problem": item, "solution": "seven"}])
    rows = [f"Please answer: {item}", "A question of its own", "held out words that no other prompt has in this very order"]
    against = {"sums": "eval.jsonl", "others": {"files": ["other.jsonl"], "columns": ["problem", "solution"]}}
    kept, dropped, scene = clean(
        tmp_path, rows, held=["HELD out words, that no other prompt has in this very order!"], decontaminate={"against": against}
    )
    assert kept == ["A question of its own"]
    assert [(row["text"], row["suite"], row["value"]) for row in dropped] == [(rows[0], "sums", 1.0), (rows[2], "gate", 1.0)]
    assert dropped[1]["twin_id"] == "held0"
    assert scene.detail["decontaminate"] == {
        "sums": {"items": 10, "matched": 1, "share": 0.1, "over_limit": True},
        "others": {"items": 1, "matched": 0, "share": 0.0, "over_limit": False},  # half of its texts: not more than half
        "gate": {"items": 1, "matched": 1, "share": 1.0, "over_limit": True},
    }
    assert [line.split("hold ")[1].split(" (")[0] for line in scene.progress.lines] == ["1 of 10 items of sums", "1 of 1 items of gate"]


def test_every_user_turn_is_looked_at_alone(tmp_path):
    item = LONG.format(n=7).split()[:24]
    halves = [" ".join(item[:12]), " ".join(item[12:])]
    write(tmp_path, "eval.jsonl", [{"chat": [{"role": "user", "content": " ".join(item)}]}])
    chats = [
        [{"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), texts, strict=True)]
        for texts in ((halves[0], "fine", halves[1]), ("well", " ".join(item), "go on"), ("well", "fine", " ".join(item)))
    ]
    write(tmp_path, "train.jsonl", [{"chat": chat} for chat in chats])
    prompts = {"train": "train.jsonl", "fields": {"messages": "chat"}, "hygiene": {"decontaminate": {"against": {"set": "eval.jsonl"}}}}
    spec = spec_of(prompts=prompts)
    rows = load(spec.prompts, tmp_path).train
    kept, dropped = hygiene.clean(rows, spec.prompts, Scene(1, tmp_path / "s", Silent()))
    # 12 of 24 words in one turn are not more than half; what the assistant says is not asked
    assert [row["prompt_id"] for row in kept] == [row["prompt_id"] for row in rows[:2]] and len(dropped) == 1


def test_cap(tmp_path):
    rows = [{"question": f"q {i}", "source": "web" if i % 3 else "book"} for i in range(12)]
    kept, dropped, _ = clean(tmp_path, rows, cap=3)
    assert len(kept) == 6 and {row["reason"] for row in dropped} == {
        "source 'web' has 8 prompts, 3 stay",
        "source 'book' has 4 prompts, 3 stay",
    }
    again, _, _ = clean(tmp_path, rows[::-1], cap=3)
    assert sorted(again) == sorted(kept)
    assert len(clean(tmp_path, rows, cap=3, cap_by="file")[0]) == 3
    with pytest.raises(SpecError, match=r"cap_by: the files have no column 'sorce'"):
        clean(tmp_path, rows, cap=3, cap_by="sorce")
    with pytest.raises(SpecError, match=r"cap_by: no prompt has a topic"):
        clean(tmp_path, rows, cap=3, cap_by="topic")


def test_rules_follow_their_order(tmp_path):
    item = LONG.format(n=7)
    write(tmp_path, "eval.jsonl", [{"question": item}])
    # the contaminated prompt goes first, so its near duplicate, which is below the threshold, stays
    rows = [item + " and smiles", " ".join(item.split()[:10]) + " other end of the story here is now told", "short"]
    kept, dropped, _ = clean(
        tmp_path, rows, cap=1, cap_by="file", min_words=2, near={"threshold": 0.1}, decontaminate={"against": {"set": "eval.jsonl"}}
    )
    assert kept == [rows[1]]
    assert [row["rule"] for row in dropped] == ["length", "decontaminate"]


def test_what_is_wrong_with_evaluation_files(tmp_path):
    with pytest.raises(DataError, match=r"no data file 'gone\.jsonl'"):
        clean(tmp_path, ["a"], decontaminate={"against": {"set": "gone.jsonl"}})
    write(tmp_path, "eval.jsonl", [{"problem": "x"}])
    with pytest.raises(DataError, match="evaluation set set: question: the row has no such column") as caught:
        clean(tmp_path, ["a"], decontaminate={"against": {"set": "eval.jsonl"}})
    assert caught.value.where.endswith("eval.jsonl:1") and "against.set.columns; there are problem" in caught.value.hint
    with pytest.raises(DataError, match="has no column 'problm'") as caught:
        clean(tmp_path, ["a"], decontaminate={"against": {"set": {"files": "eval.jsonl", "columns": ["problm"]}}})
    assert "problem" in caught.value.hint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"near": {"bands": 3}}, "belong to `candidates: minhash`"),
        ({"near": {"candidates": "minhash", "bands": 30, "rows": 10}}, "more than 240 permutations"),
        ({"decontaminate": {"held_out": False}}, "nothing to compare with"),
        ({"decontaminate": {"against": {"gate": "x.jsonl"}}}, "that is a split's name"),
        ({"min_words": 5, "max_words": 4}, "less than min_words"),
    ],
)
def test_settings_that_contradict_each_other(settings, message):
    with pytest.raises(ValueError, match=message):
        spec_of(prompts={"train": "t.jsonl", "hygiene": settings})


def test_a_rule_that_loses_count_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.prompts.hygiene.length.length", lambda rows, settings: [Drop(0, "twice"), Drop(0, "twice")])
    with pytest.raises(StepError, match="rule length dropped 2 of 1 prompts, but only 1 different"):
        clean(tmp_path, ["a"], min_words=1)


def test_the_fingerprint_is_what_drops_depend_on(tmp_path):
    write(tmp_path, "eval.jsonl", [{"question": "x"}])
    settings = {"near": {}, "languages": ["en"], "semantic": {}, "decontaminate": {"against": {"set": "eval.jsonl"}}}

    def made(seed=1, **more):
        return hygiene.fingerprint(spec_of(seed=seed, prompts={"train": "t.jsonl", "hygiene": settings | more}), tmp_path / "spec.yaml")

    first = made()
    assert first == made() and json.dumps(first)
    assert first != made(near={"threshold": 0.8}) and first != made(seed=2)
    write(tmp_path, "eval.jsonl", [{"question": "y"}])
    assert first != made()
