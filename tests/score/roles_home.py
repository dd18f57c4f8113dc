"""A tiny experiment with three roles: a reward model and a preference model that train in the loop, and a policy that they choose for."""

from __future__ import annotations

from pathlib import Path

import yaml

import heads_tiny
import loop_home

TINY = {"max_steps": 4, "batch_size": 8, "max_length": 160, "learning_rate": 1e-2, "save_every": 2, "log_every": 2}
BEST = """-- The answer of each prompt that the reward model of this round likes best; $judges preferences were asked for.
SELECT prompt_id, generation_id, format('rm {:g}', rm) AS reason
FROM (
    SELECT *, row_number() OVER (PARTITION BY prompt_id ORDER BY rm DESC, generation_id) AS place FROM scored
)
WHERE place = 1
"""
OVER = """
rounds: 2
measure:
  - {method: reward_model, name: rm, params: {model: reward}}
  - {method: reward_model, name: earlier, params: {model: reward-last}}
  - {method: logprob, name: fit, params: {model: coach}}
compare:
  - {method: preference_model, name: estimator, params: {model: estimator, passes: 3, sites: linear, dropout: 0.1}, sql: duels.sql}
select: {sql: best.sql}
pairs: {sql: pairs/best_worst.sql}
train:
  - {role: policy, objective: sft, init: previous, reference: none, data: round}
  - {role: reward, objective: reward_model, init: own, reference: none, data: cumulative, first: rm}
  - {role: estimator, objective: preference_model, init: coach, reference: none, data: round, params: {dropout: 0.1}}
  - {role: coach, objective: sft, init: previous, reference: none, data: round, select: {sql: select/raft.sql, params: {top: 1}}}
"""
DUELS = """-- The best against the worst answer of each prompt, by the verifiers alone.
SELECT left_id, right_id FROM (
    SELECT
        prompt_id,
        first(generation_id ORDER BY score DESC, generation_id) AS left_id,
        last(generation_id ORDER BY score DESC, generation_id) AS right_id
    FROM scored GROUP BY prompt_id
)
WHERE left_id <> right_id
"""


def text(flow: bool = False) -> str:
    """The experiment's YAML; with `flow` its params on one line each."""
    given = yaml.safe_load(loop_home.YAML)
    given |= yaml.safe_load(OVER)
    given["train"] = [entry | TINY for entry in given["train"]]
    given["prompts"]["per_round"] = 12
    given["base"]["model"]["positions"] = 192
    return yaml.safe_dump(given, sort_keys=False, default_flow_style=None if flow else False, width=1000)


def write(folder: Path, body: str | None = None, name: str = "loop") -> Path:
    """The experiment with its SQL and the folder `rm`, a classifier of one output."""
    path = loop_home.write(folder, body or text(), name)
    (path.parent / "best.sql").write_text(BEST)
    (path.parent / "duels.sql").write_text(DUELS)
    if not (path.parent / "rm").exists():
        heads_tiny.save(path.parent / "rm")
    return path
