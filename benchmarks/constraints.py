"""The verifier `constraints`: rows a second, beside IFEval's own code as lm-eval ships it.

    python benchmarks/constraints.py [--rows 20000] [--peer-rows 1000] [--repeat 3]

A row is an answer of 100-200 words (all different) to a prompt with 1-3 instructions, drawn as often as IFEval's 541 prompts have
them; half of the answers are bent to follow the instructions that look at the whole text (capitals, JSON, quotation marks,
another language), so that no rule gets away with a first look. Rows go through the operator that scoring uses, Arrow in and
out. Prints CPU microseconds a row (median of the repeats) and rows a second, with the wall clock beside them, for all rows, for
rows without and with language rules, for loose, and for each instruction alone. The peer runs where lm-eval, nltk with its
punkt_tab data and langdetect are installed; verdicts on the same rows are compared.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import pyarrow as pa

from engine.score import make
from engine.score.verify import ASKED, Verify
from engine.spec import Scorer

# how often an instruction occurs among the 834 of IFEval
COUNTS = {
    "change_case:capital_word_frequency": 25,
    "change_case:english_capital": 25,
    "change_case:english_lowercase": 39,
    "combination:repeat_prompt": 41,
    "combination:two_responses": 24,
    "detectable_content:number_placeholders": 27,
    "detectable_content:postscript": 26,
    "detectable_format:constrained_response": 10,
    "detectable_format:json_format": 17,
    "detectable_format:multiple_sections": 14,
    "detectable_format:number_bullet_lists": 31,
    "detectable_format:number_highlighted_sections": 48,
    "detectable_format:title": 37,
    "keywords:existence": 39,
    "keywords:forbidden_words": 49,
    "keywords:frequency": 42,
    "keywords:letter_frequency": 33,
    "language:response_language": 31,
    "length_constraints:nth_paragraph_first_word": 12,
    "length_constraints:number_paragraphs": 27,
    "length_constraints:number_sentences": 52,
    "length_constraints:number_words": 52,
    "punctuation:no_comma": 66,
    "startend:end_checker": 26,
    "startend:quotation": 41,
}
LANGUAGE = {"change_case:english_capital", "change_case:english_lowercase", "language:response_language"}
VERBS = ["carried", "wanted", "kept", "described", "followed", "counted", "found"]
NOUNS = ["river", "garden", "letter", "teacher", "engine", "market", "summer", "question", "village", "paper", "story", "window", "child"]
REST = ["slowly", "again", "before noon", "with care", "in the old town", "every day", "for a while", "at once", "on the way home"]
ODD = ["e.g. on Sundays", "at 3.5 percent", "for Dr. Smith", 'and said "yes"', "(or not)", "1. as ever", "in the U.S. of old"]
GERMAN = ["Der alte Garten lag hinter dem Haus.", "Niemand wusste, woher der Brief kam.", "Im Sommer blieb das Fenster offen."]


def prose(random_: random.Random) -> str:
    """100-200 words in sentences, some in paragraphs, bullets and highlights; every tenth has a mark that need not end it."""
    parts, words = [], random_.randint(100, 200)
    while sum(part.count(" ") + 1 for part in parts) < words:
        first, second = random_.choice(NOUNS), random_.choice(NOUNS)
        start = random_.choice(["", "", "", "\n\n", "\n* ", "However, ", "In *short*, "])
        rest = random_.choice(ODD if random_.random() < 0.1 else REST)
        parts.append(f"{start}The {first} {random_.choice(VERBS)} the {second} {rest}{random_.choice('...?!')}")
    return " ".join(parts).strip()


def bent(text: str, name: str, random_: random.Random) -> str:
    """The text so that it follows an instruction about the text as a whole."""
    if name == "change_case:english_capital":
        return text.upper()
    if name == "change_case:english_lowercase":
        return text.lower()
    if name == "detectable_format:json_format":
        return json.dumps({"answer": text})
    if name == "startend:quotation":
        return f'"{text}"'
    if name == "language:response_language":
        return " ".join(random_.choice(GERMAN) for _ in range(25))
    return text


def arguments(name: str, random_: random.Random) -> dict[str, Any]:
    """The kwargs of an instruction, bounds close to what the texts have."""
    relation = random_.choice(["less than", "at least"])
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "change_case:capital_word_frequency": lambda: {"capital_frequency": 3, "capital_relation": relation},
        "combination:repeat_prompt": lambda: {"prompt_to_repeat": "Write about the river."},
        "detectable_content:number_placeholders": lambda: {"num_placeholders": 2},
        "detectable_content:postscript": lambda: {"postscript_marker": "P.S."},
        "detectable_format:multiple_sections": lambda: {"section_spliter": "Section", "num_sections": 3},
        "detectable_format:number_bullet_lists": lambda: {"num_bullets": 3},
        "detectable_format:number_highlighted_sections": lambda: {"num_highlights": 2},
        "keywords:existence": lambda: {"keywords": random_.sample(NOUNS, 2)},
        "keywords:forbidden_words": lambda: {"forbidden_words": random_.sample(NOUNS, 3)},
        "keywords:frequency": lambda: {"keyword": random_.choice(NOUNS), "frequency": 3, "relation": relation},
        "keywords:letter_frequency": lambda: {"letter": "q", "let_frequency": 4, "let_relation": relation},
        "language:response_language": lambda: {"language": random_.choice(["de", "fr"])},
        "length_constraints:nth_paragraph_first_word": lambda: {"num_paragraphs": 4, "nth_paragraph": 2, "first_word": "the"},
        "length_constraints:number_paragraphs": lambda: {"num_paragraphs": 3},
        "length_constraints:number_sentences": lambda: {"num_sentences": random_.randint(10, 20), "relation": relation},
        "length_constraints:number_words": lambda: {"num_words": random_.randint(100, 200), "relation": relation},
        "startend:end_checker": lambda: {"end_phrase": "Is there anything else I can help with?"},
    }
    return made.get(name, dict)()


def rows(count: int, names: Sequence[str], most: int, seed: int = 1) -> pa.RecordBatch:
    """Answers as the operator sees them, with 1 to `most` different instructions each."""
    random_ = random.Random(seed)
    weights, responses, metas = [COUNTS[name] for name in names], [], []
    for _ in range(count):
        asked = list(dict.fromkeys(random_.choices(names, weights, k=random_.randint(1, most))))
        text = prose(random_)
        responses.append(bent(text, random_.choice(asked), random_) if random_.random() < 0.5 else text)
        metas.append(json.dumps({"instruction_id_list": asked, "kwargs": [arguments(name, random_) for name in asked]}))
    columns = [[f"{i:016x}" for i in range(count)], responses, [None] * count, [None] * count, metas]
    return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], names=list(ASKED))


def timed(work: Callable[[], Any], count: int, repeat: int) -> tuple[float, float]:
    """CPU and wall microseconds for one of `count` rows, medians."""
    cpu, wall = [], []
    for _ in range(repeat):
        begin, start = time.process_time(), time.perf_counter()
        work()
        cpu.append((time.process_time() - begin) / count * 1e6)
        wall.append((time.perf_counter() - start) / count * 1e6)
    return statistics.median(cpu), statistics.median(wall)


def line(label: str, cpu: float, wall: float) -> None:
    """One line of the table."""
    print(f"{label:<48}{cpu:>10.1f}{1e6 / cpu:>14,.0f}{wall:>12.1f}")


def peer(batch: pa.RecordBatch) -> list[bool] | None:
    """IFEval's own verdicts, strict, all instructions; None where it is not installed."""
    try:
        import langdetect
        from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT
    except ImportError as error:
        print(f"no peer: {error} (pip install lm-eval langdetect nltk immutabledict)")
        return None
    langdetect.DetectorFactory.seed = 0
    found = []
    for response, meta in zip(batch["response"].to_pylist(), batch["meta"].to_pylist(), strict=True):
        asked, followed = json.loads(meta), True
        for name, given in zip(asked["instruction_id_list"], asked["kwargs"], strict=True):
            rule = INSTRUCTION_DICT[name](name)
            rule.build_description(**given)
            followed = bool(rule.check_following(response)) and followed
        found.append(followed)
    return found


def main() -> None:
    """Prints the table; exits with 1 where the peer disagrees on more than 2 in 100 rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--peer-rows", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    strict, loose = (Verify(make(Scorer(verifier="constraints", params={"mode": mode}))) for mode in ("strict", "loose"))
    strict(rows(200, list(COUNTS), 3))  # loads the models of languages and sentences
    mixed = rows(given.rows, list(COUNTS), 3)
    plain = rows(given.rows, sorted(COUNTS.keys() - LANGUAGE), 3)
    print(f"{given.rows:,} answers\n{'rows':<48}{'CPU us/row':>10}{'rows/CPU s':>14}{'wall us/row':>12}")
    line("1-3 instructions, as often as in IFEval", *timed(lambda: strict(mixed), given.rows, given.repeat))
    line("  without language rules", *timed(lambda: strict(plain), given.rows, given.repeat))
    few = rows(given.rows // 4, sorted(LANGUAGE), 1)
    line("  language rules alone", *timed(lambda: strict(few), few.num_rows, given.repeat))
    line("  loose", *timed(lambda: loose(mixed), given.rows, given.repeat))
    for name in COUNTS:
        single = rows(given.rows // 10, [name], 1)
        line(f"    {name}", *timed(lambda single=single: strict(single), single.num_rows, given.repeat))
    compare(strict, mixed.slice(0, given.peer_rows))


def compare(strict: Verify, batch: pa.RecordBatch) -> None:
    """Times the peer on some rows beside Rondo on the same, and compares verdicts."""
    begin = time.process_time()
    theirs = peer(batch)
    cpu = (time.process_time() - begin) / batch.num_rows * 1e6
    if theirs is None:
        return
    own, _ = timed(lambda: strict(batch), batch.num_rows, 3)
    ours = [verdict == "right" for verdict in strict(batch)["verdict"].to_pylist()]
    differ = sum(left != right for left, right in zip(ours, theirs, strict=True))
    print(f"IFEval's code, {batch.num_rows:,} of the rows: {cpu:.0f} CPU us/row, Rondo {own:.0f}: {cpu / own:.1f} times as fast")
    print(f"verdicts that differ: {differ} of {batch.num_rows:,}")
    if differ > 0.02 * batch.num_rows:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
