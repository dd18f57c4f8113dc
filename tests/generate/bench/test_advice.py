"""The recommendation on made-up figures: the fastest, or within noise what changes least; the lines for the spec."""

from engine.generate.bench import Figures, Repeat, Setting, metric
from engine.generate.bench.advice import advise, alike

ONE = Setting("transformers", "batch", 32, "static", 1, {}, present=True)


def row(setting: Setting, *rates: float, tokens: bool = True, failed: str | None = None) -> Figures:
    """A setting that made so many tokens a second, and a tenth as many answers."""
    repeats = [Repeat(int(rate) // 10, int(rate) if tokens else None, 1.0) for rate in rates]
    return Figures(setting, [1.0], repeats, failed=failed, reason=failed)


def other(size: int, batching: str = "static", threads: int = 1, backend: str = "transformers", **params: object) -> Setting:
    return Setting(backend, "batch", size, batching, threads, {"batching": batching, **params})


def test_the_fastest_is_recommended_with_its_gain_and_lines() -> None:
    best = row(other(128, "continuous", 2), 4000, 4100, 3900)
    found = advise([row(ONE, 1000, 1010, 990), row(other(128), 2000, 2000, 2000), best])
    assert found and found.best is best and found.fastest is best and not found.keep and not found.noise
    assert found.gain == 4.0
    assert found.lines == {
        "generate": {"backend": "transformers", "batch": 128, "params": {"batching": "continuous"}},
        "compute": {"threads": 2},
    }


def test_within_noise_the_present_setting_stays() -> None:
    present = row(ONE, 1000, 1200, 900)
    found = advise([present, row(other(128), 1150, 1250, 1100), row(other(512), 1160, 1190, 1130)])
    assert found and found.best is present and found.keep and found.noise and found.lines == {} and "noise" in found.why


def test_within_noise_the_one_that_changes_least_is_taken() -> None:
    slow = row(ONE, 1000, 1000, 1000)
    smaller, larger = row(other(128), 3000, 3050, 2990), row(other(512), 3040, 3100, 3010)
    threads, continuous = row(other(128, threads=2), 3040, 3060, 2995), row(other(128, "continuous"), 3045, 3060, 2995)
    found = advise([slow, larger, threads, continuous, smaller])
    assert found and found.best is smaller and found.noise and found.fastest is continuous
    assert found.lines == {"generate": {"backend": "transformers", "batch": 128, "params": {"batching": "static"}}}


def test_a_way_of_batching_that_gains_nothing_is_left_to_the_backend() -> None:
    auto = Setting("transformers", "batch", 32, "auto", 1, {}, present=True)
    rows = [row(auto, 1000, 1000, 1000), row(other(128), 3000, 3050, 2990), row(other(128, "continuous"), 3020, 3060, 2980)]
    found = advise(rows)
    assert found and found.lines == {"generate": {"backend": "transformers", "batch": 128}}
    rows[1] = row(other(128), 2000, 2050, 1990)
    found = advise(rows)
    assert found and found.lines["generate"]["params"] == {"batching": "continuous"}


def test_a_difference_of_less_than_a_twentieth_is_none_and_a_clear_one_is() -> None:
    assert alike(row(ONE, 1000, 1000, 1000), row(other(64), 1040, 1040, 1040), "tokens")
    assert not alike(row(ONE, 1000, 1000, 1000), row(other(64), 1060, 1060, 1060), "tokens")
    assert alike(row(ONE, 1000, 1300, 900), row(other(64), 1250, 1400, 1200), "tokens")
    # measured once: 10% around it
    assert alike(row(ONE, 1000), row(other(64), 1150), "tokens") and not alike(row(ONE, 1000), row(other(64), 1300), "tokens")


def test_what_failed_is_never_recommended() -> None:
    present = row(ONE, failed="memory")
    best = row(other(8), 500, 510, 490)
    broken = row(other(512), 9000, failed="memory")
    found = advise([present, best, broken])
    assert found and found.best is best and found.present is None and found.gain is None
    assert advise([present]) is None and advise([]) is None


def test_answers_are_compared_where_tokens_are_not_counted() -> None:
    server = Setting("openai", "concurrency", 16, None, 1, {"url": "http://x", "model": "m", "concurrency": 16})
    rows = [row(ONE, 1000, 1000, 1000), row(server, 3000, 3000, 3000, tokens=False)]
    assert metric(rows) == "answers" and metric(rows[:1]) == "tokens"
    found = advise(rows)
    assert found and found.metric == "answers" and found.gain == 3.0
    # the concurrency stands among the backend's own settings; a batch means nothing to it
    assert found.lines == {"generate": {"backend": "openai", "params": {"url": "http://x", "model": "m", "concurrency": 16}}}
