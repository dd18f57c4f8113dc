"""What answers are measured by, how a round is planned and clustered, and which answers train."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import model_validator

from engine.parts.part import F, Part, ScorerName, Slug


class Scorer(Part):
    """A verifier, or a measure that looks at one answer at a time, over every part of generations."""

    verifier: str | None = F(None, "method of engine/score: a verdict on every answer")
    measure: str | None = F(None, "method of engine/score/measures: a number for every answer, from a model")
    name: ScorerName | None = F(None, "column in `scored`; none: the method's name")
    params: dict[str, Any] = F({}, "settings of the method's own")

    @model_validator(mode="after")
    def _one(self) -> Scorer:
        if bool(self.verifier) == bool(self.measure):
            raise ValueError("give either `verifier` or `measure`")
        return self

    @property
    def column(self) -> str:
        """The scorer's name in tables and SQL; some measures add suffixes."""
        return self.name or self.verifier or self.measure or ""


class Measure(Part):
    """A number for every rollout, by a method or by SQL over the round."""

    method: str | None = F(None, "method of engine/score/measures: numbers from a model, or from the whole round")
    sql: str | None = F(None, "SQL file that gives item_id, value and perhaps detail, a row for each rollout")
    name: ScorerName | None = F(None, "column in `scored`; none: the method's or the file's name")
    params: dict[str, Any] = F({}, "settings of the method's own, or values of the $names in the SQL")

    @model_validator(mode="after")
    def _one(self) -> Measure:
        if bool(self.method) == bool(self.sql):
            raise ValueError("give either `method` or `sql`")
        return self

    @property
    def column(self) -> str:
        """The measure's name in tables and SQL; some methods add suffixes."""
        return self.name or self.method or PurePosixPath(self.sql or "").stem


class Compare(Part):
    """Answers of a prompt judged in pairs: rows of `preferences`."""

    method: str = F(..., "method of engine/score/comparers")
    name: ScorerName | None = F(None, "column `judge` of preferences; none: the method's name")
    params: dict[str, Any] = F({}, "settings of the method's own")
    sql: str | None = F(None, "SQL file that gives left_id and right_id; none: all pairs of a prompt's rollouts")
    sql_params: dict[str, Any] = F({}, "values of the $names in the SQL")
    orders: Literal["both", "forward"] = F(
        "both", "both: each pair is asked again with the sides swapped; where the two disagree it is a tie"
    )

    @property
    def column(self) -> str:
        """The judge's name in tables and SQL."""
        return self.name or self.method


class Plan(Part):
    name: Slug = F(..., "part of the table plan")
    sql: str | None = F(None, "SQL file that gives key, item_id, value and reason")
    method: str | None = F(None, "method of engine/plan, where SQL cannot say it")
    params: dict[str, Any] = F({}, "values of the $names in the SQL, or settings of the method's own")

    @model_validator(mode="after")
    def _one(self) -> Plan:
        if bool(self.sql) == bool(self.method):
            raise ValueError("give either `sql` or `method`")
        return self


class Cluster(Part):
    name: Slug = F("prompt", "part of embeddings, clusters and cluster_stats")
    of: Literal["prompts", "generations", "pool"] = F("prompts", "items: the round's prompts, its rollouts, or the whole pool of prompts")
    embedder: str = F("hashed_ngrams", "method of engine/cluster/embedders")
    params: dict[str, Any] = F({}, "settings of the embedder's own")
    k: int | None = F(None, "clusters; none: no clusters, only embeddings", "clusters", gt=0)
    rule: Literal["fixed", "sqrt", "silhouette"] = F("fixed", "how k is chosen: as given, square root of the items, or the best silhouette")
    candidates: tuple[int, ...] = F((), "values of k that `silhouette` compares", "clusters")
    metric: Literal["l2", "cosine"] = F("l2", "distance; cosine is spherical k-means on normalised vectors")
    iterations: int = F(20, "k-means iterations", gt=0)
    restarts: int = F(1, "k-means runs, the best is kept", gt=0)
    train_rows: int | None = F(None, "most items that k-means is trained on; none: all", "items", gt=0)
    fit: Literal["round", "first"] = F("round", "centroids of every round its own, or those of the first round it ran in")


class Picker(Part):
    method: str = F(..., "method of engine/select/pickers")
    name: ScorerName | None = F(None, "column in `scored`; none: the method's name")
    sql: str = F(..., "SQL file that gives the candidates: item_id, prompt_id and the columns that the method needs")
    params: dict[str, Any] = F({}, "settings of the picker's own and values of the $names in the SQL")

    @property
    def column(self) -> str:
        """The picker's name in tables and SQL."""
        return self.name or self.method


class Select(Part):
    sql: str | None = F(None, "SQL file, beside the spec or below sql/; needed where an objective trains on `selected`")
    params: dict[str, Any] = F({}, "values of the $names in the SQL")
    pickers: tuple[Picker, ...] = F((), "operators that give candidates a number before the SQL runs, in this order")


class Pairs(Part):
    """Which answers train against each other."""

    sql: str | None = F(None, "SQL file, beside the spec or below sql/; needed where an objective trains on `pairs`")
    params: dict[str, Any] = F({}, "values of the $names in the SQL")
    logps: tuple[str, ...] = F(
        (), "models whose log-probabilities of both sides stand in `extra` as chosen_logps_<name> and rejected_logps_<name>: previous, base"
    )
