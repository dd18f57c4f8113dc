"""Comparison of what a program printed."""

import pytest

from engine.score.code.stdout import difference


@pytest.mark.parametrize(
    ("found", "expected", "tolerance"),
    [
        ("1\n2\n", "1\n2", None),
        ("1  \n2\t\n\n\n", "1\n2\n", None),
        ("1\r\n2\r\n", "1\n2\n", None),
        ("", "\n", None),
        ("0.33333 yes\n", "0.333333333 yes\n", 1e-4),
        ("1000000.1\n", "1000000\n", 1e-6),
    ],
)
def test_agree(found, expected, tolerance):
    assert difference(found, expected, tolerance) is None


@pytest.mark.parametrize(
    ("found", "expected", "tolerance", "detail"),
    [
        ("1\n3\n", "1\n2\n", None, "line 2: found '3', expected '2'"),
        (" 1\n", "1\n", None, "line 1: found ' 1', expected '1'"),
        ("1\n", "1\n2\n", None, "line 2: found the end of the output, expected '2'"),
        ("1\n2\n", "1\n", None, "line 2: found '2', expected the end of the output"),
        ("0.34\n", "0.33\n", 1e-3, "line 1: found '0.34', expected '0.33'"),
        ("nan\n", "0.33\n", 1e-3, "line 1: found 'nan', expected '0.33'"),
        ("0.33 0.33\n", "0.33\n", 1e-3, "line 1: found '0.33 0.33', expected '0.33'"),
        ("0.333333333\n", "0.33333\n", None, "line 1: found '0.333333333', expected '0.33333'"),
    ],
)
def test_differ(found, expected, tolerance, detail):
    assert difference(found, expected, tolerance) == detail
