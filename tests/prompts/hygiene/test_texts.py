"""Words, runs of words and their hashes."""

import re

import numpy as np
import pyarrow as pa
import pytest

from engine.prompts.hygiene.texts import Growing, Splitter, asked, blocks, most_words, word_hashes


def test_words_are_what_the_regular_expression_leaves():
    texts = ["Hello, World_1!", "", "  ?! ", "Émile's naïve café\u00a0東京-x", "a\tb\nc  d ", "İ ß Σ", "x" * 5000]
    words = Splitter(r"\W").words(texts)
    plain = [re.findall(r"\w+", text.lower()) for text in texts]
    assert words.lengths.tolist() == [len(own) for own in plain]
    known = {}
    for hash_, word in zip(words.hashes.tolist(), [word for own in plain for word in own], strict=True):
        assert known.setdefault(word, hash_) == hash_
    assert len(set(known.values())) == len(known)
    odd = ["", "a", "a b", "\u0130" * 9]
    assert most_words(odd) >= Splitter(r"\W").words(odd).lengths.clip(min=1).sum() == 13
    # the same words beside other texts
    assert Splitter(r"\W").words(texts[3:4]).hashes.tolist() == words.hashes[words.starts[3] : words.starts[4]].tolist()


def test_different_words_have_different_hashes():
    words = ["", "a", "b", "aa", "ab", "ba", "abc", "acb", "\0", "\0\0", "é", "e", *(str(i) for i in range(20_000))]
    found = word_hashes(pa.array(words, type=pa.large_string()))
    assert len(set(found.tolist())) == len(words)
    # about half of the bits differ between neighbours
    bits = np.unpackbits((found[1:] ^ found[:-1]).view(np.uint8)).mean()
    assert bits == pytest.approx(0.5, abs=0.01)
    assert word_hashes(pa.array(words, type=pa.large_string()).slice(3, 2)).tolist() == found[3:5].tolist()


def test_runs_stay_within_a_text():
    words = Splitter(r"\W").words(["a b c d", "", "a b", "x a b c"])
    hashes, text, position = words.grams(3)
    assert (text.tolist(), position.tolist()) == ([0, 0, 3, 3], [0, 1, 0, 1])
    assert hashes[0] == hashes[3] and len(set(hashes.tolist())) == 3
    assert [len(part) for part in words.grams(5)] == [0, 0, 0]


def test_what_a_prompt_asks():
    messages = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]
    assert asked({"messages": messages}) == "user\nassistant\nuser"


def test_blocks_and_growing_arrays():
    assert list(blocks("abcde", 2)) == [(0, "ab"), (2, "cd"), (4, "e")]
    growing = Growing(np.uint16, 9)
    growing.add(np.array([1, 2**16 + 2], dtype=np.uint64))
    growing.add(np.array([3], dtype=np.uint64))
    assert growing.take().tolist() == [1, 2, 3]
