"""What is held out of the demonstrations, and what is said of them."""

from pathlib import Path

from cloning.data import say_what_is_held_out, split_as_before

A, B, C, D = (Path(f"{name}.npz") for name in "abcd")


def test_what_a_run_has_learned_from_never_validates_it():
    # d is new, and held out by the split of now; c would be, too, but the run has learned from it.
    assert split_as_before([A, B, C, D], [C, D], {"a.npz", "b.npz", "c.npz"}, {"a.npz"}) == ([B, C], [A, D])
    assert split_as_before([C, D], [D], {"a.npz"}, {"a.npz"}) == ([C], [D])
    assert split_as_before([A, B], [B], {"a.npz", "b.npz"}, {"a.npz", "b.npz"}) == ([A], [B])  # all that it learned from is gone
    assert split_as_before([A, B], [], {"a.npz", "b.npz"}, set()) == ([A, B], [])


def test_what_is_held_out_is_said(capsys):
    say_what_is_held_out([A, B], ["CAVE", "CAVE"], [B])
    assert capsys.readouterr().out == "held out for validation: b.npz\n"
    say_what_is_held_out([A, B, C], ["CAVE", "CAVE", None], [B])
    assert capsys.readouterr().out == (
        "held out for validation: 1 of 2 of CAVE, 0 of 1 of the whole game\n"
        "only one episode, which is for training, so no validation: the whole game\n"
    )
