"""METEOR and self-BLEU beside nltk, the nearest earlier answer beside every pair, and the SQL measures over a round.

    python benchmarks/likeness.py [--answers 60000] [--samples 8] [--words 100] [--past 20000] [--folder DIR]

Texts are drawn from a Zipf vocabulary of 5,000 words. nltk looks at a small part of the answers. Prints CPU seconds beside wall seconds,
microseconds an answer or a pair, and how many times as long nltk takes; numbers of both must be equal.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
SQL = {
    "advantage": {},
    "answer_entropy": {},
    "best_of_n": {"n": 4},
    "difficulty": {},
    "distinct_n": {"n": 2},
    "length": {},
    "majority": {},
    "majority_share": {},
    "margin": {},
    "rank": {},
    "rank_consistency": {"first": "score", "second": "exact"},
    "softmax_share": {},
    "win_rate_by_score": {},
    "win_rate": {"judge": "judge"},
    "knockout": {"judge": "judge"},
}


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, wall seconds and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, time.perf_counter() - wall, time.process_time() - cpu


def say(label: str, wall: float, cpu: float, n: int, unit: str) -> None:
    """One line of the report."""
    print(f"{label:<44} {wall:8.2f} s wall {cpu:8.2f} s CPU {cpu / n * 1e6:9.1f} us {unit}", flush=True)


def written(n: int, words: int, seed: int) -> list[str]:
    """Texts of about `words` words that end in a final answer."""
    lot, known = random.Random(seed), [f"word{i}" for i in range(5000)]
    weights = [1 / (i + 1) for i in range(5000)]
    drawn = lot.choices(known, weights, k=n * words)
    return [" ".join(drawn[i * words : (i + 1) * words]) + f" Answer: {lot.randrange(5)}" for i in range(n)]


class NoSynonyms:
    """WordNet without its data."""

    def synsets(self, word: str) -> list[Any]:
        """None."""
        return []


class Stems:
    """Our stemmer as nltk's, remembered words and all."""

    def stem(self, word: str) -> str:
        """A word without its ending."""
        from engine.similarity import stemmed

        return stemmed(word)


def meteors(texts: list[str]) -> None:
    """Every ordered pair of some texts."""
    from nltk.translate.meteor_score import single_meteor_score

    from engine.score.likeness.meteor import Words, meteor

    some, n = texts[:60], 60 * 60
    words = [Words(text) for text in some]
    meteor(words[0], words[1])
    ours, wall, cpu = timed(lambda: [meteor(a, b) for a in words for b in words])
    say("METEOR", wall, cpu, n, "a pair")
    cut = [text.split() for text in some]
    theirs, slow_wall, slow = timed(lambda: [single_meteor_score(a, b, stemmer=Stems(), wordnet=NoSynonyms()) for a in cut for b in cut])
    say("METEOR, nltk with our stems", slow_wall, slow, n, "a pair")
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1e-12
    print(f"  nltk takes {slow / cpu:.1f} times as long")


def bleus(texts: list[str], samples: int) -> None:
    """Self-BLEU of whole prompts of `samples` and of 50 answers."""
    from engine.score.likeness.bleu import self_bleu

    for k, prompts in ((samples, 50), (50, 4)):
        groups = [texts[i * k : (i + 1) * k] for i in range(prompts)]
        ours, wall, cpu = timed(lambda groups=groups: [self_bleu(group) for group in groups])
        say(f"self-BLEU of {k} answers", wall, cpu, k * prompts, "an answer")
        some = groups[: max(1, prompts // 10)]
        theirs, slow_wall, slow_cpu = timed(lambda some=some: nltk_bleus(some))
        say(f"self-BLEU of {k} answers, nltk", slow_wall, slow_cpu, k * len(some), "an answer")
        own = [value for group in ours[: len(some)] for value in group]
        assert max(abs(a - b) for a, b in zip(own, theirs, strict=True)) < 1e-10
        print(f"  nltk takes {slow_cpu / len(some) / (cpu / prompts):.1f} times as long")


def nltk_bleus(groups: list[list[str]]) -> list[float]:
    """BLEU of each text against the others of its group, by nltk."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth, cut = SmoothingFunction().method1, [[text.split() for text in group] for group in groups]
    return [float(sentence_bleu(g[:i] + g[i + 1 :], g[i], (0.25,) * 4, smooth)) for g in cut for i in range(len(g))]


def nearest(texts: list[str], past: list[str], samples: int) -> None:
    """Novelty by n-grams and by vectors."""
    import numpy as np

    from engine.score.likeness.nearest import by_cosine, by_ngrams
    from engine.score.likeness.vectors import apart, unit, vendi

    n = len(texts)
    one, other = np.zeros(n, np.int64), np.zeros(len(past), np.int64)
    _, wall, cpu = timed(lambda: by_ngrams(texts, past, 3, one, other))
    say(f"novelty by 3-grams, {n:,} x {len(past):,}", wall, cpu, n, "an answer")
    groups, theirs = np.arange(n) // samples, np.arange(len(past)) // samples
    _, wall, cpu = timed(lambda: by_ngrams(texts, past, 3, groups, theirs))
    say("the same within prompts", wall, cpu, n, "an answer")
    lot = np.random.default_rng(1)
    vectors, old = unit(lot.normal(size=(n, 256))), unit(lot.normal(size=(len(past), 256)))
    _, wall, cpu = timed(lambda: by_cosine(vectors, old, one, other))
    say(f"novelty by vectors of 256, {n:,} x {len(past):,}", wall, cpu, n, "an answer")
    _, wall, cpu = timed(lambda: [(apart(vectors[i : i + samples]), vendi(vectors[i : i + samples])) for i in range(0, n, samples)])
    say("embedding diversity and Vendi score", wall, cpu, n, "an answer")


def lake(folder: Path, texts: list[str], samples: int) -> Any:
    """A lake with one round of these answers, two scorers and all comparisons of siblings."""
    from small_lake import SmallLake

    small, lot = SmallLake(folder), random.Random(2)
    prompts = [f"p{i // samples:06d}" for i in range(len(texts))]
    small.answers([(p, text, lot.random()) for p, text in zip(prompts, texts, strict=True)])
    exact = [
        {"item_id": f"{p}-{i % samples}", "item_kind": "generation", "prompt_id": p, "scorer": "exact", "value": lot.random()}
        for i, p in enumerate(prompts)
    ]
    small.put("scores", "rollout/exact", exact)
    pairs = [
        {"prompt_id": p, "left_id": f"{p}-{a}", "right_id": f"{p}-{b}", "judge": "judge", "order": "both", "probability": lot.random()}
        for p in dict.fromkeys(prompts)
        for a in range(samples)
        for b in range(a + 1, samples)
    ]
    small.put("preferences", "rollout/judge", pairs)
    return small


def sql(small: Any, n: int) -> None:
    """Every SQL measure, and the queries over rounds."""
    from engine import sqlfile

    for name, params in SQL.items():
        file = sqlfile.read(sqlfile.find(f"measures/{name}"))
        made, wall, cpu = timed(lambda file=file, params=params: small.session(0).table(file.text, file.bind(params)))
        assert made.num_rows == n
        say(f"measures/{name}.sql", wall, cpu, n, "an answer")
    for name in ("diversity", "length_drift", "score_spread"):
        file = sqlfile.read(sqlfile.find(f"queries/{name}"))
        _, wall, cpu = timed(lambda file=file: small.session().table(file.text, file.bind({})))
        say(f"queries/{name}.sql", wall, cpu, n, "an answer")


def main() -> None:
    """Prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=60000)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--words", type=int, default=100)
    parser.add_argument("--past", type=int, default=20000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    texts = written(options.answers, options.words, 0)
    print(f"{len(texts):,} answers of {statistics.mean(len(t.split()) for t in texts[:1000]):.0f} words, {options.samples} a prompt")
    meteors(texts)
    bleus(texts, options.samples)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        sql(lake(Path(folder), texts, options.samples), len(texts))
    nearest(texts, written(options.past, options.words, 1), options.samples)


if __name__ == "__main__":
    main()
