"""Which network is the best."""

import pytest

from common.selection import is_better


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"successes": 5, "val_loss": 2.0}, {"successes": 4, "val_loss": 1.0}),
        ({"successes": 5, "val_loss": 1.0}, {"successes": 5, "val_loss": 2.0}),
        ({"successes": 5, "mean_length": 30}, {"successes": 5, "mean_length": 40}),
        ({"successes": 5, "mean_return": 2.0, "val_loss": 3}, {"successes": 5, "mean_return": 1.0, "val_loss": 1}),
    ],
)
def test_what_is_better(better, worse):
    better, worse = better | {"thorough": True}, worse | {"thorough": True}
    assert is_better(better, worse) and not is_better(worse, better)
    assert not is_better(better, better)  # the earlier one stays
    assert is_better(better, None) and not is_better(better | {"thorough": False}, None)
