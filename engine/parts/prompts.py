"""Where prompts come from, which of them are kept, and how a round is made of them."""

from __future__ import annotations

from typing import Any, Literal

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


class Near(Part):
    threshold: float = F(0.7, "Jaccard similarity of shingle sets from which two prompts are near duplicates", gt=0, le=1)
    ngram: int = F(5, "words a shingle", "words", gt=0)
    permutations: int = F(240, "MinHash values a prompt", "hashes", gt=0)


class Semantic(Part):
    embedder: str = F("hashed_ngrams", "method of engine/cluster/embedders")
    params: dict[str, Any] = F({}, "settings of the embedder's own")
    clusters: int | None = F(None, "k-means clusters that are compared inside; none: square root of the prompts", "clusters", gt=0)
    eps: float = F(0.05, "a prompt more similar than 1 - eps (cosine) to an earlier one is dropped", gt=0, lt=1)
    keep: Literal["hard", "easy", "random"] = F("hard", "which of alike prompts stays: far from, near to the centroid, or by lot")


class Decontaminate(Part):
    against: dict[str, Paths] = F({}, "evaluation sets by name; files as in prompts.train")
    held_out: bool = F(True, "also against the gate and test splits")
    ngram: int = F(8, "words of an n-gram", "words", gt=0)
    threshold: float = F(0.5, "a prompt that covers a larger share of an evaluation item's words is dropped", ge=0, lt=1)


class Hygiene(Part):
    near: Near | None = F(None, "drop near duplicates by MinHash; {} for the defaults")
    semantic: Semantic | None = F(None, "drop semantic duplicates (SemDeDup)")
    decontaminate: Decontaminate | None = F(None, "drop prompts that hold evaluation items (n-gram overlap)")
    min_words: int = F(0, "shortest prompt", "words", ge=0)
    max_words: int | None = F(None, "longest prompt", "words", gt=0)
    languages: tuple[str, ...] = F((), "ISO 639-1 codes that are kept; none: all")
    cap: int | None = F(None, "most prompts of one source", "prompts", gt=0)
    cap_by: str = F("source", "what a source is: task, topic, or a column of the files")


class Mix(Part):
    by: str = F(..., "groups that a round's prompts are mixed of: topic, task, cluster, or a column of the files")
    weights: dict[str, float] = F({}, "share of each group; a missing group gets none")
    plan: Slug | None = F(None, "entry of `plan` whose rows with key 'weight' give the shares (item_id: the group)")
    temperature: float | None = F(None, "shares as sizes ** (1 / temperature): 1 proportional, large uniform", gt=0)
    cooldown: float | None = F(None, "temperature of the last round; the rounds between go there in equal steps", gt=0)
    fraction: dict[str, float] = F({}, "share of a group's own prompts that takes part, rounded up")


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
