"""Macros that score answers by each other: correlations, ranks, the best of n, chances of pairs, words, bins, final answers."""

import math
import random

import duckdb
import pytest


def near(*values):
    return pytest.approx(list(values), abs=5e-5)


def test_pearson(ask):
    assert ask("pearson([1, 2, 3, 4], [1, 3, 2, 4])") == pytest.approx(0.8)
    assert ask("pearson([1, 2, 3], [2, 4, 6])") == 1.0 and ask("pearson([1, 2, 3], [0.3, 0.2, 0.1])") == pytest.approx(-1.0)
    assert ask("pearson([1, 2], [5, 5])") is None and ask("pearson([1], [2])") is None and ask("pearson([]::DOUBLE[], [])") is None
    assert ask("pearson(NULL, NULL)") is None
    generator = random.Random(5)
    xs, ys = ([generator.gauss(0, 1) for _ in range(200)] for _ in range(2))
    assert ask("pearson(?, ?)", xs, ys) == pytest.approx(_correlation(xs, ys), abs=1e-12)


def _correlation(xs, ys):
    mx, my = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    both = math.fsum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True))
    return both / math.sqrt(math.fsum((x - mx) ** 2 for x in xs) * math.fsum((y - my) ** 2 for y in ys))


@pytest.mark.parametrize(("share", "n"), [(0.0, 10), (0.1, 20), (0.5, 3.7), (1.0, 40)])
def test_wilson_ends_where_the_share_is_z_standard_errors_away(ask, share, n):
    found = ask("wilson(?, ?, 1.96)", share, n)
    for end in (found["low"], found["high"]):  # the interval holds every p with |share - p| <= z sqrt(p (1 - p) / n)
        assert (share - end) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / n, abs=1e-12)
    assert 0 <= found["low"] <= share <= found["high"] <= 1


def test_ranks_of_two_scorers(ask):
    assert ask("kendall_tau([5, 4, 3, 2, 1], [5, 3, 4, 1, 2])") == pytest.approx(0.6)
    assert ask("list_transform([-0.08, 0.84], lambda tau: (tau + 1) / 2)") == near(0.46, 0.92)
    assert ask("ordinal_ranks([0.5, 2, 0.5])") == [1, 3, 2] and ask("ordinal_ranks([]::DOUBLE[])") == []
    assert ask("top_order([3, 2, 1], [9, 5, 0])") == 1 and ask("top_order([3, 2, 1], [9, 0, 5])") == 0
    for name in ("kendall_tau", "spearman_rho", "top_order"):
        assert ask(f"{name}([1], [2])") is None
        with pytest.raises(duckdb.Error, match=f"{name}: 2 scores against 1"):
            ask(f"{name}([1, 2], [2])")


def test_best_of_n(ask):
    assert [ask("best_of_n_weight(?, 3, 2)", place) for place in (1, 2, 3)] == near(0, 1 / 3, 2 / 3)
    for n in range(1, 9):
        for k in range(1, n + 1):
            weights = [ask("best_of_n_weight(?, ?, ?)", place, n, k) for place in range(1, n + 1)]
            assert weights == pytest.approx([math.comb(place - 1, k - 1) / math.comb(n, k) for place in range(1, n + 1)])
    assert [ask("best_of_n_kl(?)", n) for n in (1, 2, 4, 8, 16)] == near(0, 0.193147, 0.636294, 1.204442, 1.835089)
    with pytest.raises(duckdb.Error, match="best of 4: there are 3 answers"):
        ask("best_of_n_weight(1, 3, 4)")


def test_chances_and_losses_of_pairs(ask):
    assert ask("bradley_terry(1, -1)") == pytest.approx(0.880797, abs=1e-6)
    assert ask("bradley_terry(2000, 0)") == 1.0 and ask("bradley_terry(0, 2000)") == 0.0 and ask("bradley_terry(NULL, 0)") is None
    assert ask("idealised_ratio(0.25, 0.8, 0.5)") == pytest.approx(4) and ask("idealised_ratio(0.25, 0.8, 2)") == pytest.approx(0.5)
    assert [ask("dpo_ranking_loss(?, 0.1)", gap) for gap in (2, 10, 50)] == near(0.5981, 0.3133, 0.0067)
    assert ask("dpo_ranking_loss(-10000, 1)") == 10000
    assert ask("kl_k3(-0.5)") == pytest.approx(0.1065, abs=5e-5) and ask("kl_k3(0.5)") == pytest.approx(0.1487, abs=5e-5)
    assert ask("kl_k3(0)") == 0


def test_words_and_diversity(ask):
    assert ask("split_words(?)", " a\tb\n\n c ") == ["a", "b", "c"] and ask("split_words('')") == []
    assert ask("ngrams(['a', 'b', 'a'], 2)") == ["a b", "b a"] and ask("ngrams(['a'], 2)") == []
    assert ask("expected_distinct(4, 6, 10)") == pytest.approx(0.8537, abs=5e-5) and ask("expected_distinct(0, 0, 10)") is None
    assert ask("entropy([1, 1, 1])") == pytest.approx(math.log(3)) and ask("entropy([5, 0])") == 0 and ask("entropy([]::DOUBLE[])") is None


def test_calibration_bins_hold_their_right_end(ask):
    assert [ask("calibration_bin(?, 10)", c) for c in (0, 0.1, 0.3, 0.7, 0.701, 1)] == [1, 1, 3, 7, 8, 10]
    assert ask("calibration_bin(0.07, 100)") == 7
    with pytest.raises(duckdb.Error, match=r"a confidence of 1\.2"):
        ask("calibration_bin(1.2, 10)")


@pytest.mark.parametrize(
    "text, answer",
    [
        ("so Answer: 7.", "7.0"),
        ("#### 1,000\nmore", "1000.0"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("Answer: 3 ... Answer: x+1", "x+1"),
        ("nothing said", "nothing said"),
        ("", ""),
    ],
)
def test_final_answer(ask, text, answer):
    assert ask("final_answer(?)", text) == answer
