"""A whole round under a ceiling that leaves most prompts without an answer, and what it, a copy of it and a fork have spent."""

import pytest

import loop_home
from engine.query import Session, Window

TEXT = loop_home.YAML.replace("rounds: 3", "rounds: 1").replace("max_tokens: 8, batch: 16}", "max_tokens: 8, batch: 16, ceiling: 100}", 1)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An experiment, one with the same spec under another name, and a fork."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("loop", "second"):
        loop_home.write(folder, TEXT, name)
        loop_home.load(folder, name=name).run()
    loop_home.load(folder).fork(0, "third")
    return loop_home.load(folder)


def _all(home, query):
    return Session(home.lake, Window()).table(query).to_pylist()


def test_prompts_without_answers_go_through_the_round(home):
    rows = home.lake.read("generations", experiment="loop", rounds=[0], part="rollout").to_pylist()
    detail = home.state().entries[0, "generations"].detail
    assert sum(row["response_tokens"] for row in rows) == detail["ceiling"]["spent"] <= 100
    assert detail["prompts_not_asked"] == 24 - len(rows) > 0 and detail["answers_not_asked"] == 96 - len(rows)
    assert {row["sample"] for row in rows} == {0}
    scores = home.lake.read("scores", experiment="loop", rounds=[0], part="rollout/score")
    chosen = home.lake.read("selected", experiment="loop", rounds=[0], part="policy")
    assert scores.num_rows == len(rows) == chosen["origin"].to_pylist().count("generation")
    assert home.state().entries[0, "promotion"].state == "done"


def test_what_was_spent_counts_once(home):
    spent = {(row["experiment"], row["round"], row["part"]): row for row in _all(home, "from lake.spend where kind = 'generation'")}
    own, held = spent["loop", 0, "rollout"], spent["loop", 0, "eval"]
    assert own["response_tokens"] == home.state().entries[0, "generations"].detail["ceiling"]["spent"]
    assert own["seconds"] > 0 and held["response_tokens"] > 0 and (own["copied"], own["cost"]) == (0, None)
    for name in ("second", "third"):
        assert {key[1:] for key in spent if key[0] == name} == {key[1:] for key in spent if key[0] == "loop"}
        for row in (row for key, row in spent.items() if key[0] == name):
            assert (row["copied"], row["response_tokens"], row["seconds"]) == (row["answers"], 0, 0.0) and row["reused_from"]
    judges = _all(
        home, "select experiment, fsum(seconds) as seconds from lake.spend where kind = 'judge' group by experiment order by experiment"
    )
    assert [(row["experiment"], row["seconds"] > 0) for row in judges] == [("loop", True), ("second", False), ("third", False)]
    copied = home.lake.read("generations", experiment="second", rounds=[0], part="rollout")
    assert set(copied["seconds"].to_pylist()) == {0.0} and None not in copied["response_tokens"].to_pylist(), "lengths stay"
