"""What is held out of the demonstrations, and what is said of them."""

from pathlib import Path

import numpy as np
import torch

from cloning.data import load_cloning_data, say_what_is_held_out, split_as_before
from common.demonstrations import Episode, save_episode, select_episodes
from common.flag_groups import CloningFlags, NetworkFlags

A, B, C, D = (Path(f"{name}.npz") for name in "abcd")


def test_what_a_run_has_learned_from_never_validates_it():
    # d is new, and held out by the split of now; c would be, too, but the run has learned from it.
    assert split_as_before([A, B, C, D], [C, D], {"a.npz", "b.npz", "c.npz"}, {"a.npz"}) == ([B, C], [A, D])
    assert split_as_before([C, D], [D], {"a.npz"}, {"a.npz"}) == ([C], [D])
    assert split_as_before([A, B], [B], {"a.npz", "b.npz"}, {"a.npz", "b.npz"}) == ([A], [B])  # all that it learned from is gone
    assert split_as_before([A, B], [], {"a.npz", "b.npz"}, set()) == ([A, B], [])


def test_so_many_labels_from_more_episodes(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(6):
        screens, labels = rng.integers(0, 256, (11, 144, 160, 3), dtype=np.uint8), rng.integers(0, 3, 10)
        episode = Episode(screens, labels, np.zeros(10), np.zeros(10, bool), metadata={"buttons": ["A", "B", "UP"]})
        episode.optimal = 1 << labels
        save_episode(tmp_path, episode)

    def load(spread, seed=1):
        flags = CloningFlags(expert_data_dir=str(tmp_path), max_labels=15, spread_labels=spread)
        files, facts = select_episodes(tmp_path)
        data = load_cloning_data(
            flags, NetworkFlags(hidden_dim=8), files, facts, label_set=True, seed=seed, device=torch.device("cpu"), before=None
        )
        return data, [(buffer.labelled_slots(), buffer.actions[: len(buffer)]) for buffer in (data.train, data.val)]

    data, labels = load(1)
    assert len(data.files) == 2 and sum(len(slots) for slots, _ in labels) == 15 == len(data.train) + len(data.val)
    data, labels = load(4)
    assert len(data.files) == 6 and sum(len(slots) for slots, _ in labels) == 15 and len(data.train) + len(data.val) == 60
    assert all(buffer.optimal.sum() == len(slots) for buffer, (slots, _) in zip((data.train, data.val), labels, strict=True))
    assert [slots.tolist() for slots, _ in load(4)[1]] == [slots.tolist() for slots, _ in labels]
    assert [slots.tolist() for slots, _ in load(4, seed=2)[1]] != [slots.tolist() for slots, _ in labels]


def test_what_is_held_out_is_said(capsys):
    say_what_is_held_out([A, B], ["CAVE", "CAVE"], [B])
    assert capsys.readouterr().out == "held out for validation: b.npz\n"
    say_what_is_held_out([A, B, C], ["CAVE", "CAVE", None], [B])
    assert capsys.readouterr().out == (
        "held out for validation: 1 of 2 of CAVE, 0 of 1 of the whole game\n"
        "only one episode, which is for training, so no validation: the whole game\n"
    )
