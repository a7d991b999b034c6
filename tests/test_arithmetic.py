import itertools
import re

import pytest

from distill import arithmetic


def test_the_same_arguments_give_the_same_problems_and_other_seeds_others():
    first = arithmetic.generate(50, steps=(1, 4), seed=0, held_out=False)
    assert first == arithmetic.generate(50, steps=(1, 4), seed=0, held_out=False)
    assert first != arithmetic.generate(50, steps=(1, 4), seed=1, held_out=False)
    assert len({problem for problem, _ in first}) == 50


@pytest.mark.parametrize("steps", [(1, 1), (1, 4), (3, 3)])
def test_train_and_held_out_share_no_text_whatever_their_seeds_and_steps(steps):
    held_out = {p for seed in range(3) for p, _ in arithmetic.generate(200, steps=steps, seed=seed, held_out=True)}
    train = {p for seed in range(3) for p, _ in arithmetic.generate(1000, steps=(1, 4), seed=seed, held_out=False)}
    assert not held_out & train
    assert all(map(arithmetic.is_held_out, held_out))
    assert not any(map(arithmetic.is_held_out, train))


def test_problems_have_as_many_steps_as_asked_and_values_in_range():
    for problem, answer in arithmetic.generate(300, steps=(2, 3), seed=0, held_out=False):
        assert problem.count("Step") in (2, 3)
        assert 0 <= int(answer) <= arithmetic.MAX_VALUE
        value = int(re.search(r"Start with (\d+)", problem)[1])
        for verb, operand in re.findall(r"(add|subtract|multiply by) (\d+)", problem):
            value = {"add": value + int(operand), "subtract": value - int(operand)}.get(verb, value * int(operand))
            assert 0 <= value <= arithmetic.MAX_VALUE
        assert value == int(answer)


def test_more_problems_than_exist_is_an_error_and_no_endless_loop(monkeypatch):
    monkeypatch.setattr(arithmetic, "MAX_VALUE", 3)
    with pytest.raises(ValueError, match=r"count: 1000 distinct training problems of 1 to 1 steps.*ask for fewer"):
        arithmetic.generate(1000, steps=(1, 1), seed=0, held_out=False)


@pytest.mark.parametrize("mistake_share", [0.0, 0.5, 1.0])
def test_the_written_work_ends_at_the_answer(mistake_share):
    for problem, answer in arithmetic.generate(200, steps=(1, 4), seed=0, held_out=False):
        text = arithmetic.solve(problem, mistake_share=mistake_share, seed=0)
        assert text.startswith("<think>\n")
        assert text.count("</think>\n\n") == 1
        assert re.findall(r"\\boxed\{(\d+)\}", text) == [answer]
        if mistake_share in (0, 1):
            assert text.count("Wait, let me redo this step.") == mistake_share * problem.count("Step")


COLUMN = re.compile(r"(\d)([-+*])(\d)([-+])(\d)(?: borrow (\d)=(\d)|=(\d)(\d))")


def test_every_written_column_is_true_except_the_one_before_a_wait():
    checked = 0
    for problem, _ in arithmetic.generate(100, steps=(1, 4), seed=0, held_out=False):
        lines = arithmetic.solve(problem, mistake_share=0.3, seed=0).splitlines()
        for line, following in itertools.pairwise(lines):
            if column := COLUMN.fullmatch(line):
                digit, sign, other, _, carry = column.groups()[:5]
                left = {"+": int(digit) + int(other), "*": int(digit) * int(other), "-": int(digit) - int(other)}[sign]
                left += -int(carry) if sign == "-" else int(carry)
                borrowed, difference, carried, written = column.groups()[5:]
                right = int(difference) - 10 * int(borrowed) if sign == "-" else 10 * int(carried) + int(written)
                assert (left == right) != following.startswith("Wait"), (line, following)
                checked += 1
    assert checked > 400


def test_solutions_depend_on_the_problem_and_the_seed_alone():
    [(problem, _)] = arithmetic.generate(1, steps=(4, 4), seed=0, held_out=False)
    texts = [arithmetic.solve(problem, mistake_share=0.5, seed=seed) for seed in range(6)]
    assert texts == [arithmetic.solve(problem, mistake_share=0.5, seed=seed) for seed in range(6)]
    assert len(set(texts)) > 1


def test_a_foreign_problem_is_named_in_the_error():
    with pytest.raises(ValueError, match="What is 1 plus 1"):
        arithmetic.solve("What is 1 plus 1?")
