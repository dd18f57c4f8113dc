from engine.train.online.blocks import schedule

PLAN = [[0, 1], [2], [1, 2], [0]]  # two passes over three prompts


def of(**more):
    return schedule(PLAN, **({"samples": 3, "together": 1, "iterations": 1, "max_steps": None} | more))


def test_a_prompt_that_comes_again_gets_answers_with_further_numbers():
    made = of()
    assert made.plan == PLAN
    assert [block.after for block in made.blocks] == [0, 1, 2, 3]
    assert made.batch(0).samples == (range(3), range(3))
    assert made.batch(2).samples == (range(3, 6), range(3, 6))
    assert made.batch(3).samples == (range(3, 6),)
    assert [made.batch(step).answers for step in range(4)] == [6, 3, 6, 3]


def test_batches_that_are_answered_together_train_in_turn():
    made = of(together=2, iterations=2)
    assert made.plan == [[0, 1], [2], [0, 1], [2], [1, 2], [0], [1, 2], [0]]
    assert [block.after for block in made.blocks] == [0, 4]
    assert made.steps == ((0, 0), (0, 1), (0, 0), (0, 1), (1, 0), (1, 1), (1, 0), (1, 1))


def test_what_would_not_train_is_not_answered():
    made = of(together=2, iterations=2, max_steps=5)
    assert made.plan == [[0, 1], [2], [0, 1], [2], [1, 2]]
    assert [len(block.batches) for block in made.blocks] == [2, 1]
    assert of(together=4, max_steps=4).plan == PLAN
    assert len(of(max_steps=2).blocks) == 2
