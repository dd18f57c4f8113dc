"""Where prompts come from, which of them are kept, and how a round is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from engine.parts.part import F, Part, Paths, Slug


class Holdout(Part):
    rows: int = F(..., "how many to hold out, the first in a fixed hash order", "prompts", gt=0)
    of: Literal["train", "test"] = F("train", "the split whose files they are taken from")


class Fields(Part):
    messages: str | None = F(None, "column with a list of {role, content}; replaces `template`")
    reference: str | None = F(None, "column with the reference answer")
    reference_pattern: str | None = F(None, "regular expression whose first group is the reference, e.g. '####\\s*(.+)'")
    task: str | None = F(None, "column with the task")
    topic: str | None = F(None, "column with the topic, for metrics by topic")
    difficulty: str | None = F(None, "column with a number")
    template: str = F("{prompt}", "user message made of columns in braces")
    system: str | None = F(None, "system message put first")
    keep: tuple[str, ...] = F((), "columns that stay in meta though the prompt is made of them: a scorer reads them there")


class Near(Part):
    threshold: float = F(0.7, "Jaccard similarity of shingle sets from which two prompts are near duplicates", gt=0, le=1)
    ngram: int = F(5, "words a shingle", "words", gt=0)
    candidates: Literal["prefix", "minhash"] = F("prefix", "pairs to compare: all that can be near duplicates, or those of MinHash bands")
    permutations: int = F(240, "MinHash values a prompt, for minhash", "hashes", gt=0)
    bands: int | None = F(None, "MinHash bands; none: the best for threshold and permutations, 24 of 10 rows for .7 and 240", gt=0)
    rows: int | None = F(None, "MinHash values a band", "hashes", gt=0)
    reach: int = F(1000, "a prompt is compared with so many after it that share rare words; what is left out is counted", "prompts", gt=0)

    @model_validator(mode="after")
    def _banded(self) -> Near:
        if self.candidates == "prefix" and (self.bands or self.rows):
            raise ValueError("bands and rows belong to `candidates: minhash`")
        if (self.bands or 1) * (self.rows or 1) > self.permutations:
            raise ValueError(f"{self.bands or 1} bands of {self.rows or 1} rows need more than {self.permutations} permutations")
        return self


class Semantic(Part):
    embedder: str = F("hashed_ngrams", "method of engine/cluster/embedders")
    params: dict[str, Any] = F({}, "settings of the embedder's own")
    clusters: int | None = F(None, "k-means clusters that are compared inside; none: square root of the prompts", "clusters", gt=0)
    eps: float = F(0.05, "a prompt more similar than 1 - eps (cosine) to an earlier one is dropped", gt=0, lt=1)
    keep: Literal["hard", "easy", "random"] = F("hard", "which of alike prompts stays: far from, near to the centroid, or by lot")


class Suite(Part):
    files: Paths = F(..., "files of an evaluation set")
    columns: tuple[str, ...] = F((), "columns whose texts are matched, the mean over them counts; none: the prompt of prompts.fields")


def _suite(given: Any) -> Any:
    return {"files": given} if isinstance(given, (str, list)) else given


class Decontaminate(Part):
    against: dict[Slug, Annotated[Suite, BeforeValidator(_suite)]] = F({}, "evaluation sets by name: files, or {files, columns}")
    held_out: bool = F(True, "also against the gate and test splits")
    ngram: int = F(8, "words of an n-gram", "words", gt=0)
    threshold: float = F(0.5, "a prompt that covers a larger share of an evaluation item's words is dropped", ge=0, lt=1)
    limit: float = F(0.02, "a larger share of matched items in one evaluation set is reported", ge=0, lt=1)

    @model_validator(mode="after")
    def _something(self) -> Decontaminate:
        if not self.against and not self.held_out:
            raise ValueError("nothing to compare with: name evaluation sets in `against`, or set held_out to true")
        for name in sorted(set(self.against) & {"gate", "test"}):
            raise ValueError(f"against.{name}: that is a split's name; give the evaluation set another")
        return self


class Hygiene(Part):
    """Rules apply in this order: length, language, decontaminate, near, semantic, cap."""

    min_words: int = F(0, "shortest prompt", "words", ge=0)
    max_words: int | None = F(None, "longest prompt", "words", gt=0)
    languages: tuple[str, ...] = F((), "ISO 639-1 codes that are kept; none: all")
    language_confidence: float = F(0.3, "probability from which another language is a reason to drop", gt=0, le=1)
    decontaminate: Decontaminate | None = F(None, "drop prompts that hold evaluation items (n-gram overlap); {} for the defaults")
    near: Near | None = F(None, "drop near duplicates by shared shingles; {} for the defaults")
    semantic: Semantic | None = F(None, "drop semantic duplicates (SemDeDup); {} for the defaults")
    cap: int | None = F(None, "most prompts of one source", "prompts", gt=0)
    cap_by: str = F("source", "what a source is: task, topic, file, or a column of the files")

    @model_validator(mode="after")
    def _spans(self) -> Hygiene:
        if self.max_words is not None and self.max_words < self.min_words:
            raise ValueError(f"max_words is {self.max_words}, less than min_words, {self.min_words}")
        return self


class Mix(Part):
    by: str = F(..., "groups that a round's prompts are mixed of: topic, task, cluster, file, or a column of the files")
    weights: dict[str, float] = F({}, "share of each group; a missing group gets none")
    plan: Slug | None = F(None, "entry of `plan` whose rows with key 'weight' give the shares (item_id: the group)")
    temperature: float | None = F(None, "shares as sizes ** (1 / temperature): 1 proportional, large uniform", gt=0)
    cooldown: float | None = F(None, "temperature of the last round; the rounds between go there in equal steps", gt=0)
    fraction: dict[str, float] = F({}, "share of a group's own prompts that takes part, rounded up; a missing group takes part whole")

    @model_validator(mode="after")
    def _rule(self) -> Mix:
        given = [name for name in ("weights", "plan", "temperature") if getattr(self, name)]
        if len(given) > 1 or not (given or self.fraction):
            raise ValueError(f"give one of weights, plan and temperature, or `fraction`; found {' and '.join(given) or 'none'}")
        if self.cooldown is not None and self.temperature is None:
            raise ValueError("cooldown: needs `temperature`, that of the first round")
        if self.weights and (min(self.weights.values()) < 0 or not sum(self.weights.values())):
            raise ValueError("weights: expected shares of 0 or more, one of them above 0")
        for name, share in self.fraction.items():
            if not 0 <= share <= 1:
                raise ValueError(f"fraction.{name}: expected a share from 0 to 1, found {share}")
        return self


class Prompts(Part):
    train: Paths = F(..., "files (JSONL, Parquet, CSV) or a Hugging Face dataset folder that rounds draw from")
    gate: Paths | Holdout | None = F(None, "files, or rows held out, that decide promotion")
    test: Paths | Holdout | None = F(None, "files, or rows held out, that are only reported")
    per_round: int | None = F(None, "fresh prompts a round; none: all of them every round", "prompts", gt=0)
    epochs: int = F(1, "how often the pool may be used up before the prompts step fails", "passes", gt=0)
    fields: Fields = F(Fields(), "which column is what")
    hygiene: Hygiene | None = F(None, "which prompts of the train files are left out; table prompts_dropped says why")
    mix: Mix | None = F(None, "shares of groups in a round; none: by lot")
    duplicates: Literal["error", "first"] = F("error", "what a prompt that stands twice in one split means")

    @model_validator(mode="after")
    def _mixed(self) -> Prompts:
        if self.mix and self.per_round is None and (self.mix.weights or self.mix.plan or self.mix.temperature):
            raise ValueError("mix: shares need prompts.per_round; without it every round has all prompts (only `fraction` works then)")
        return self
