"""B-STaR's sweep: the catalogue's numbers, and every temperature and threshold against a plain scan."""

import json
import random
from math import inf

import pytest

from engine.errors import QueryError
from engine.ids import content_id
from engine.plan.steps import PlanStep
from engine.select.steps import SelectedStep
from engine.spec import Plan
from engine.views import SQL as VIEWS
from small_lake import SmallLake, spec

SQL = "plan/bstar.sql"


def _calibrated(small, answers):
    """answers: (temperature, prompt, response, score); verdict `unparseable` where the response is '?'."""
    rows, scores, seen = [], [], {}
    for temperature, prompt, response, score in answers:
        number = seen[prompt] = seen.get(prompt, -1) + 1
        name = f"{prompt}-c{number:03d}"
        rows.append(
            {
                "generation_id": name,
                "content_id": content_id(response),
                "prompt_id": prompt,
                "sample": number,
                "response": response,
                "temperature": temperature,
            }
        )
        verdict = "unparseable" if response == "?" else "right" if score >= 1 else "wrong"
        scores.append(
            {"item_id": name, "item_kind": "generation", "prompt_id": prompt, "value": score, "verdict": verdict, "scorer": "score"}
        )
    small.put("generations", "calibrate", rows)
    small.put("scores", "calibrate/score", scores)


def _plan(small, **params):
    one = spec(calibrate={"temperatures": [1.0]}, plan=[{"name": "bstar", "sql": SQL}])
    step = PlanStep(Plan(name="bstar", sql=SQL, params=params), small.folder / "spec.yaml")
    step.check(one, small.folder / "spec.yaml")
    output = step.run(small.context(one))
    small.keep(output, 0)
    return {(row["key"], row["item_id"]): json.loads(row["value"]) for row in output.rows["plan", "bstar"].to_pylist()}


def _one_prompt(tmp_path, right, wrong, n_star=8):
    """The balance of a prompt that keeps `right` right and `wrong` wrong answers: one threshold below all rewards."""
    small = SmallLake(tmp_path)
    small.prompts(["p"])
    rows = [(1.0, "p", f"r{i}", 1.0) for i in range(right)] + [(1.0, "p", f"w{i}", 0.0) for i in range(wrong)]
    _calibrated(small, rows)
    return _plan(small, n_star=n_star, lo=-1.0, hi=-1.0)["balance", "1"]


@pytest.mark.parametrize(
    ("right", "kept", "n_star", "balance"),
    [(4, 8, 8, 0.25), (8, 8, 8, 1.0), (8, 16, 8, 0.5), (2, 2, 8, 0.25), (0, 5, 8, 0.0), (4, 8, 6, 1 / 3)],
)
def test_the_balance_of_a_prompt(tmp_path, right, kept, n_star, balance):
    assert _one_prompt(tmp_path, right, kept - right, n_star) == pytest.approx(balance, abs=1e-12)


def _kept(rows, threshold, size, dedupe):
    """Plain: the first `size` of one prompt's answers with a reward above the threshold, equal texts once."""
    ordered = sorted(rows, key=lambda row: (-row["score"], row["sample"]))
    if dedupe == "before":
        seen: set[str] = set()
        ordered = [row for row in ordered if not (row["text"] in seen or seen.add(row["text"]))]
    taken = [row for row in ordered[:size] if row["score"] > threshold]
    if dedupe == "none":
        return taken
    seen = set()
    return [row for row in taken if not (row["text"] in seen or seen.add(row["text"]))]


def _slow(answers, n_star, grid, target, keep, most, dedupe, empty_as_zero):
    """(balance, temperature, threshold, size) of every temperature's first best threshold, by scanning all of them."""
    groups: dict[float, dict[str, list]] = {}
    counters: dict[str, int] = {}
    for temperature, prompt, text, score in answers:
        counters[prompt] = counters.get(prompt, -1) + 1
        rows = groups.setdefault(temperature, {}).setdefault(prompt, [])
        if text != "?":
            rows.append({"text": text, "score": score, "sample": counters[prompt]})
    best = []
    for temperature in sorted(groups):
        top = (-inf, 0.0, 0)
        for threshold in grid:
            sizes = [keep] if keep else range(1, most + 1) if target else [most]
            for size in sizes:
                kept = {p: _kept(rows, threshold, size, dedupe) for p, rows in groups[temperature].items()}
                if target and sum(map(len, kept.values())) >= target:
                    break
            values = []
            for rows in kept.values():
                n, right = len(rows), sum(row["score"] >= 1 for row in rows)
                if n or empty_as_zero:
                    values.append(min(right / n_star, 1) * right / n if n else 0.0)
            balance = round(sum(values) / len(values), 12) if values else -inf
            if balance > top[0]:
                top = (balance, threshold, size)
        best.append((top[0], temperature, *top[1:]))
    return best


def _random(seed, prompts=9, samples=12):
    rng = random.Random(seed)
    answers = []
    for prompt in range(prompts):
        for temperature in (0.5, 0.75, 1.0):
            for _ in range(samples):
                right = rng.random() < 0.2 + prompt / 20 - temperature / 5
                score = float(right) + rng.choice([-0.2, -0.1, 0.0, 0.04, 0.1, 0.2])
                text = "?" if rng.random() < 0.1 else f"{right} {score} {rng.randrange(3)}"
                answers.append((temperature, f"p{prompt}", text, score))
    return answers


@pytest.mark.parametrize(
    "how",
    [
        {"target": 40},
        {"target": 10_000, "max": 7},
        {"keep": 3, "dedupe": "before"},
        {"dedupe": "none", "empty_as_zero": True},
        {"target": 25, "empty_as_zero": True, "dedupe": "before", "n_star": 2},
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_sweep_equals_a_plain_scan(tmp_path, how, seed):
    small, answers = SmallLake(tmp_path), _random(seed)
    small.prompts(sorted({row[1] for row in answers}))
    _calibrated(small, answers)
    grid = [round(-1 + i * 0.05, 9) for i in range(47)]
    expected = _slow(
        answers,
        how.get("n_star", 6),
        grid,
        how.get("target"),
        how.get("keep"),
        how.get("max", 64),
        how.get("dedupe", "after"),
        how.get("empty_as_zero", False),
    )
    found = _plan(small, lo=-1.0, hi=1.3, step=0.05, **how)
    for balance, temperature, _, _ in expected:
        assert found["balance", f"{temperature:g}"] == pytest.approx(balance, abs=2e-12)
    best = max(expected, key=lambda row: (row[0], -row[1]))
    assert (found["temperature", None], found["threshold", None], found["keep", None]) == best[1:]


def test_first_of_equals_wins_and_thresholds_are_strict(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["p"])
    _calibrated(small, [(t, "p", f"{t} {i}", score) for t in (0.7, 0.9) for i, score in enumerate([1.2, 0.2])])
    # only above the wrong answer's reward is all right; 0.2 itself already drops it
    found = _plan(small, n_star=1)
    assert (found["temperature", None], found["threshold", None], found["balance", "0.7"]) == (0.7, 0.2, 1.0)


def test_the_selection_follows_the_plan(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["p", "q"])
    small.put(
        "plan",
        "bstar",
        [{"key": "threshold", "value": "0.2"}, {"key": "keep", "value": "3"}, {"key": "balance", "item_id": "0.7", "value": "0.5"}],
    )
    scores = [("p", "a", 0.2), ("p", "b", 1.1), ("p", "b", 1.1), ("p", "c", 1.0), ("p", "d", 0.5), ("q", "a", 0.1), ("q", "e", 0.3)]
    small.answers(scores)

    def chosen(**params):
        one = spec(
            plan=[{"name": "bstar", "sql": SQL}], calibrate={"temperatures": [1]}, select={"sql": "select/bstar.sql", "params": params}
        )
        rows = SelectedStep("policy", tmp_path / "spec.yaml").run(small.context(one)).rows["selected", "policy"].to_pylist()
        return [row["generation_id"] for row in rows]

    assert chosen() == ["p-1", "p-3", "q-1"], "b stands twice among the three best and trains once"
    assert chosen(dedupe="before") == ["p-1", "p-3", "p-4", "q-1"]
    assert chosen(dedupe="none") == ["p-1", "p-2", "p-3", "q-1"]
    assert chosen(threshold=0.1, keep=9) == ["p-1", "p-3", "p-4", "p-0", "q-1"]
    assert chosen(target=2) == ["p-1", "q-1"]
    assert chosen(target=3) == ["p-1", "p-3", "q-1"], "the second place is a copy, so a third is needed"
    assert chosen(target=99, max=4) == ["p-1", "p-3", "p-4", "q-1"]
    with pytest.raises(QueryError, match="expected after, before or none"):
        chosen(dedupe="twice")


def test_worked_solutions_stand_beside_the_answers(tmp_path):
    small = SmallLake(tmp_path)
    row = {"prompt_id": "p", "split": "train", "messages": [{"role": "user", "content": "ask"}], "meta": json.dumps({"solution": "so"})}
    small.put("prompts", "train", [row, row | {"prompt_id": "q", "meta": None}])
    _calibrated(small, [(1.0, "p", "x", 0.0), (1.0, "q", "y", 1.0)])
    assert _plan(small, n_star=1)["balance", "1"] == 1.0
    found = _plan(small, n_star=2, gold="$.solution")
    assert found["balance", "1"] == 0.5, "p keeps its solution, q its answer: half of the two right ones that are wanted"
    small.answers([("p", "x", 0.0), ("q", "y", 1.0)])
    one = spec(
        plan=[{"name": "bstar", "sql": SQL}],
        calibrate={"temperatures": [1]},
        select={"sql": "select/bstar.sql", "params": {"gold": "$.solution"}},
    )
    rows = SelectedStep("policy", tmp_path / "spec.yaml").run(small.context(one)).rows["selected", "policy"].to_pylist()
    told = [(row["prompt_id"], row["generation_id"], row["origin"], row["messages"][-1]["content"]) for row in rows]
    assert told == [("p", None, "gold", "so"), ("q", "q-0", "generation", "y")]


def test_how_evenly_rows_spread(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["p", "q"])
    small.answers([("p", "a", 1.0), ("q", "b", 1.0), ("q", "c", 0.0), ("q", "d", 1.0)])
    rows = [
        {"row_id": f"r{i}", "prompt_id": p, "generation_id": g}
        for i, (p, g) in enumerate([("p", "p-0"), *(("q", f"q-{k}") for k in range(3))])
    ]
    small.put("selected", "policy", rows)
    found = small.session().table((VIEWS / "queries" / "uniformity.sql").read_text(), {"experiment": None, "bar": 1.0}).to_pylist()
    assert [(r["rows"], r["prompts"], r["uniformity"], r["accuracy"]) for r in found] == [(4, 2, 0.5, 0.75)]
