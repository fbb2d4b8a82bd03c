"""Preprocessing, statistics, seeds, video, and the small helpers."""

import os
import random
import signal

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from common.runtime.device import seed_everything
from common.runtime.files import atomic_write
from common.runtime.main import StopRequest
from common.statistics import rate_text, wilson_interval
from common.utils import preprocess_observation, preprocess_uint8, random_shift
from common.video import VideoWriter, write_video


@pytest.mark.parametrize("size", [(144, 160), (160, 240), (84, 84), (20, 30)])
def test_preprocessing_is_torchvisions_resize_of_a_pil_image(size):
    screen = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(screen)
    reference = transforms.Compose([transforms.Resize((84, 84)), transforms.ToTensor()])(image).numpy()
    picture = preprocess_observation(screen)
    assert picture.dtype == np.float32 and picture.shape == (3, 84, 84)
    assert np.array_equal(picture, reference)
    assert np.array_equal(preprocess_observation(image), picture)
    small = preprocess_uint8(screen)
    assert small.dtype == np.uint8 and np.array_equal(small.astype(np.float32) / np.float32(255), picture)


def test_preprocessing_takes_any_pil_mode_but_not_any_array():
    image = Image.fromarray(np.full((10, 10), 7, np.uint8))
    assert (preprocess_uint8(image) == 7).all()
    assert preprocess_uint8(image.convert("RGBA")).shape == (3, 84, 84)
    for wrong in (np.zeros((144, 160)), np.zeros((144, 160, 3)), np.zeros((144, 160, 4), np.uint8)):
        with pytest.raises(ValueError, match="wanted uint8"):
            preprocess_observation(wrong)


def test_random_shift_moves_whole_pictures():
    pictures = torch.randint(0, 256, (64, 3, 12, 10), dtype=torch.uint8)
    shifted = random_shift(pictures, 2, torch.Generator().manual_seed(0))
    assert shifted.dtype == torch.uint8 and shifted.shape == pictures.shape
    padded = torch.nn.functional.pad(pictures.float(), (2, 2, 2, 2), mode="replicate").to(torch.uint8)
    seen = set()
    for before, after in zip(padded, shifted, strict=True):
        matches = [(y, x) for y in range(5) for x in range(5) if torch.equal(before[:, y : y + 12, x : x + 10], after)]
        assert matches
        seen.update(matches)
    assert len(seen) > 15
    assert torch.equal(random_shift(pictures, 2, torch.Generator().manual_seed(0)), shifted)
    assert random_shift(pictures, 0, torch.Generator()) is pictures


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 20, 0.0, 0.1611), (18, 20, 0.6990, 0.9721), (20, 20, 0.8389, 1.0), (5, 10, 0.2366, 0.7634), (0, 0, 0.0, 1.0)],
)
def test_wilson_interval(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-4)


def test_wilson_interval_refuses_nonsense():
    with pytest.raises(ValueError, match="3 successes in 2 trials"):
        wilson_interval(3, 2)
    assert rate_text(18, 20) == "18/20 = 90 % [70, 97]"


def test_seeds_reproduce():
    def draw():
        seed_everything(5)
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert draw() == draw()


def test_atomic_write(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("ha")
        raise RuntimeError
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


def test_stop_request():
    stop = StopRequest()
    try:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop() and stop.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):  # the second one is not held back
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # a whole job is ended: whoever started this one sends it, too
        assert stop.signal == signal.SIGINT
    finally:
        stop.restore()


@pytest.mark.parametrize("shape", [(144, 160, 3), (11, 13, 3)])
def test_video_is_h264_that_browsers_play(tmp_path, shape):
    screens = [np.full(shape, 25 * i, np.uint8) for i in range(6)]
    path = write_video(tmp_path / "new" / "film.mp4", screens, scale=3)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    height, width = 3 * shape[0], 3 * shape[1]
    assert len(frames) == 6 and frames[0].shape == (height + height % 2, width + width % 2, 3)
    assert abs(int(frames[4][5, 5, 0]) - 100) < 8
    assert list(path.parent.iterdir()) == [path]


def test_video_caption_final_name_and_failure(tmp_path):
    writer = VideoWriter(tmp_path / "film.mp4", scale=2)
    writer.add(np.zeros((20, 30, 3), np.uint8), "LEFT")
    writer.add(np.zeros((20, 30, 3), np.uint8), " ")
    assert writer.close("film_success.mp4") == tmp_path / "film_success.mp4"
    with av.open(str(tmp_path / "film_success.mp4")) as container:
        first, second = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
    assert first.shape[0] > 40 and first[40:].max() > 100 and second.max() < 40
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "broken.mp4") as writer:
        writer.add(np.zeros((20, 30, 3), np.uint8))
        raise RuntimeError
    with VideoWriter(tmp_path / "empty.mp4"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["film_success.mp4"]
    with pytest.raises(ValueError, match="ends in .mp4"):
        VideoWriter(tmp_path / "film.avi")
