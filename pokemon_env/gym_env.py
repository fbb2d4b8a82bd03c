"""A Game Boy game as a Gymnasium environment: one step is one press of a button."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from pokemon_env import state_files
from pokemon_env.builds import can_hide_compass
from pokemon_env.emulators.emulator import Emulator
from pokemon_env.emulators.open_emulator import open_emulator
from pokemon_env.emulators.window import Window
from pokemon_env.errors import EmulatorError, MilestoneAlreadyCompleted
from pokemon_env.games import find_game
from pokemon_env.milestones import MilestoneTracker
from pokemon_env.rom import BUNDLED_ROM, Rom
from pokemon_env.splits import parse_worlds
from pokemon_env.tiers import DEFAULT_TIER, Tier, find_tier

FRAMES_PER_SECOND = 4_194_304 / 70_224
"""A Game Boy's, and an Advance's: clock cycles a second over those of a frame."""

_RESET_OPTIONS = {"load_state", "idle_frames", "world", "start_milestone"}
_REST_CHECK_FRAMES = 4
_PICTURE_FRAMES = 2  # a change in memory appears on the screen one frame later, and completely after another


class PokemonEnv(gymnasium.Env[np.ndarray, int | np.int64]):
    """Play a ROM by its screen.

    A step presses one button, holds it for `hold_frames`, releases it, continues for the release frames, and takes the
    screen. In the bundled game that is one tile or one cursor position, and the game is at rest again when the screen is
    taken.

    - Action: index into `buttons`; A, B, START, SELECT, UP, DOWN, LEFT, RIGHT on a Game Boy (8), then L, R on an
      Advance (10).
    - Observation: the screen, (144, 160, 3) uint8 RGB (Game Boy).
    - Reward: 1.0 for each milestone newly completed.
    - Terminated when the target milestone is completed; without a target, when the game's last one is.
    - `frames` counts the console's frames that the steps since the reset took (`FRAMES_PER_SECOND` of them a second).
    - Info: "player", "game", "map" (the state, plain JSON data, read from the game's memory), "milestones"
      {id: {"completed": bool}} and "prev_action" (the press just made, in lower case; "no_op" after a reset). With
      `state_in_info=False` only the last two are present, and only what the milestones need is read from memory;
      `get_state` and `snapshot` return the state at the steps where it is wanted.

    The same seed and the same actions give the same screens and infos, whatever the environment did before. The seed sets
    the game's own random numbers, the drawn start state or world, the position in it, its idle frames and the jitter of the
    release. A reset without a seed continues drawing from the same generator, as Gymnasium specifies.

    Some games (the bundled one) can be played in many worlds, whose maps differ while the story is the same, and from the
    beginning of any milestone. `worlds`, `tier` and `start_milestone` are for them, and make each reset draw a world and a
    start. Without any of the three an episode starts at power-on or in `start_state`.

    Args:
        rom_path: the ROM; default is the bundled game. A ROM that no module in `pokemon_env/games/` knows runs by
            its screen alone.
        headless: False opens the emulator's window, as render_mode="human" does.
        render_mode: None, "rgb_array" (`render()` returns the screen) or "human" (a window, at the console's own
            speed).
        start_state: None for power-on, the path of a .state file, or a folder of them or a list of paths, of which
            each reset draws one.
        target_milestone: id of the milestone that ends the episode; default is `start_milestone`, or else the game's last.
        max_episode_steps: truncate after this many steps; None for never.
        hold_frames, release_frames: frames (60 a second) for which a button is down, and up, in a step. Default: the
            game's (12 and 12).
        randomize_release_frames: draw the release frames for each step from `release_frames_range` (both ends
            included; default: the game's, 12 to 20) instead.
        state_in_info: whether infos hold the state.
        idle_frames_range: how many frames pass without a button after a start state was loaded; drawn at each reset
            (both ends included; default: the game's, 0 to 60). At least one frame passes, so that there is a screen.
        window_speed: with a window, 1 is the console's speed, 2 twice that, 0 as fast as possible.
        worlds: the worlds of which each reset draws one: "0", "1-999", "train", "choose" or "test" (see
            `pokemon_env.splits`), a number or a sequence of numbers. Default: the tier's.
        tier: "T0" to "T4" (`pokemon_env.tiers`); default T1. T0 has no jitter and no idle frames, regardless of the
            arguments above, and plays with the default of `release_frames`.
        start_milestone: id of the milestone that each episode starts at: those before it are completed, without reward.

    Raises RomError, StateFileError, EmulatorError (`pokemon_env.errors`) and ValueError; each message says what to do.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 10}

    def __init__(
        self,
        rom_path: str | Path = BUNDLED_ROM,
        headless: bool = True,
        render_mode: str | None = None,
        start_state: str | Path | Sequence[str | Path] | None = None,
        target_milestone: str | None = None,
        max_episode_steps: int | None = None,
        hold_frames: int | None = None,
        release_frames: int | None = None,
        randomize_release_frames: bool = True,
        release_frames_range: tuple[int, int] | None = None,
        state_in_info: bool = True,
        idle_frames_range: tuple[int, int] | None = None,
        window_speed: float = 1,
        worlds: str | int | Sequence[int] | None = None,
        tier: str | None = None,
        start_milestone: str | None = None,
    ) -> None:
        self._emulator: Emulator | None = None  # close() may be called after a failed construction
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode is {render_mode!r}, but can be None, 'human' or 'rgb_array'.")
        if render_mode is None and not headless:
            render_mode = "human"
        self.render_mode = render_mode
        self._rom = rom = Rom.read(rom_path)
        self.game = find_game(rom)
        self.buttons = self.game.buttons
        self.milestones = self.game.milestones
        self.hold_frames = _at_least_one("hold_frames", _or(hold_frames, self.game.hold_frames))
        self.release_frames = _at_least_one("release_frames", _or(release_frames, self.game.release_frames))
        self.randomize_release_frames = randomize_release_frames
        self.release_frames_range = _range(
            "release_frames_range", _or(release_frames_range, self.game.release_frames_range), least=1
        )
        self.idle_frames_range = _range("idle_frames_range", _or(idle_frames_range, self.game.idle_frames_range), least=0)
        self.state_in_info = state_in_info
        if max_episode_steps is not None:
            _at_least_one("max_episode_steps", max_episode_steps)
        self.max_episode_steps = max_episode_steps
        self.target_milestone = target_milestone
        self._check_milestone(target_milestone)
        self._start_states = None if start_state is None else state_files.find_states(start_state)
        self.tier: str | None = None
        self.worlds: Sequence[int] | None = None
        self.start_milestone = start_milestone
        arguments = {"worlds": worlds, "tier": tier, "start_milestone": start_milestone}
        if given := [name for name, value in arguments.items() if value is not None]:
            self._choose_worlds(given, worlds, tier)

        window = render_mode == "human" or not headless
        self._emulator = open_emulator(rom, window, window_speed)
        self.action_space = spaces.Discrete(len(self.buttons))
        self.observation_space = spaces.Box(0, 255, self._emulator.screen_shape, np.uint8)
        self.identity = state_files.StateIdentity(
            game=self.game.id,
            rom_title=rom.header.title,
            rom_sha256=rom.header.sha256,
            emulator=self._emulator.name,
            emulator_version=self._emulator.version,
            mode=self._emulator.mode,
        )
        self._tracker = MilestoneTracker(self.milestones)
        self._step_count = 0
        self.frames = 0
        self._prev_action = "no_op"
        self._episode_start: str | None = None  # the milestone that the episode was started at
        self._ready = False  # reset() was called, and worked
        self._rest(self.game.boot_frames)
        # Loading this is faster than booting again, and equivalent to a power-on.
        self._power_on = self._emulator.save_state()

    @property
    def _goal(self) -> str | None:
        """The milestone that ends the episode; None for a game without any."""
        return self.target_milestone or self._episode_start or (self.milestones[-1].id if self.milestones else None)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode.

        options: "load_state": path of the .state file to start from, instead of `start_state`; it brings its own world.
                With None no state is loaded: the start is at power-on, or according to `worlds` and `start_milestone`.
            "world": number of the world, instead of a drawn one.
            "start_milestone": instead of the argument of this name; None starts at power-on.
            "idle_frames": how many frames pass before the first screen, instead of a drawn number; not after power-on.
        Raises StateFileError if the state cannot be used, MilestoneAlreadyCompleted if the target is reached in it.
        """
        super().reset(seed=seed)
        options = options or {}
        if unknown := options.keys() - _RESET_OPTIONS:
            raise ValueError(f"unknown reset options {sorted(unknown)}; known are {sorted(_RESET_OPTIONS)}.")
        emulator = self._running()
        self._ready = False
        path, world, milestone = self._draw_start(options)
        game_seed = int(self.np_random.integers(1, 1 << 32))
        already: tuple[str, ...] = ()
        self._episode_start = milestone
        if path is not None:
            already = self._load(path)
            self.game.seed(emulator, game_seed)
            self._idle(options.get("idle_frames"), self.idle_frames_range if self.tier is None or self._tier.jitter else (0, 0))
            self._check_decodes(path)
        elif world is None:
            emulator.load_state(self._power_on)
            self.game.seed(emulator, game_seed)
        else:
            tier = self._tier
            emulator.power_on(self.game.cartridge_ram(self._rom, world, tier, milestone, self.np_random))
            self._rest(self.game.boot_frames)
            self.game.seed(emulator, game_seed)
            if milestone is not None:
                self.game.play_opening(emulator, tier, milestone, self.np_random)
                self._idle(options.get("idle_frames"), self.idle_frames_range if tier.jitter else (0, 0))
        self._tracker.reset(self.game.watch(emulator), already)
        if self._goal is not None and self._tracker.completed[self._goal]:
            start = f"the state {path}" if path is not None else "power-on" if milestone is None else f"a start at {milestone}"
            raise MilestoneAlreadyCompleted(
                f"the target milestone {self._goal} is completed already in {start}. Start from an "
                "earlier state, or choose a later milestone."
            )
        self._step_count = 0
        self.frames = 0
        self._prev_action = "no_op"
        self._ready = True
        return emulator.screen(), self._info()

    def step(self, action: int | np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Press the button `buttons[action]`; see the class for what is returned."""
        emulator = self._running()
        if not self._ready:
            raise gymnasium.error.ResetNeeded("reset() must be called before step(), and must have worked.")
        if not 0 <= action < len(self.buttons):
            raise ValueError(f"action is {action!r}, but must be 0 to {len(self.buttons) - 1} ({', '.join(self.buttons)}).")
        button = self.buttons[action]
        release_frames = self.release_frames
        if self.randomize_release_frames and (self.tier is None or self._tier.jitter):
            low, high = self.release_frames_range
            release_frames = int(self.np_random.integers(low, high + 1))
        emulator.press(button, self.hold_frames, release_frames)
        self._step_count += 1
        self.frames += self.hold_frames + release_frames
        self._prev_action = button.lower()
        reached = self._tracker.update(self.game.watch(emulator))
        terminated = self._goal in reached
        truncated = self.max_episode_steps is not None and self._step_count >= self.max_episode_steps
        return emulator.screen(), float(len(reached)), terminated, truncated, self._info()

    def render(self) -> np.ndarray | None:
        """Return the screen, (H, W, 3) uint8 RGB, in render mode "rgb_array"; otherwise None."""
        return self._running().screen() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Stop the emulator. May be called again; nothing is written to disk."""
        if self._emulator is not None:
            self._emulator.close()
            self._emulator = None

    def read_memory(self, address: int, length: int) -> bytes:
        """Return `length` bytes of the emulator's memory from `address` on, as the console's processor sees them."""
        return self._running().read(address, length)

    def snapshot(self) -> bytes:
        """Return the current bytes of memory that the state is read from, for `decode_state` later."""
        return self.game.snapshot(self._running())

    def decode_state(self, snapshot: bytes, prev_action: str = "no_op") -> dict[str, Any]:
        """Return the state in a snapshot, all five keys of `info`; milestones are those recorded in memory."""
        return self.game.decode_state(snapshot, prev_action)

    def get_state(self) -> dict[str, Any]:
        """Return the current state, all five keys of `info`, regardless of `state_in_info`."""
        return {
            **self.game.decode(self.snapshot()),
            "milestones": self._tracker.info(),
            "prev_action": self._prev_action,
        }

    def save_state(self, path: str | Path, details: dict[str, Any] | None = None) -> Path:
        """Write the emulator's current state to `path` (.state), with the sidecar that says what it belongs to.

        details: anything to store with it, as JSON data. Raises StateFileError if it cannot be written.
        """
        completed = [name for name, done in self._tracker.completed.items() if done]
        return state_files.write_state(path, self._running().save_state(), self.identity, completed, details)

    def poll_button(self) -> int | None:
        """Return the next action that the person at the window has typed or holds, None if there is none.

        The keys and the waiting presses are those of `window`. Raises WindowClosed on Escape or when the window is closed, after
        the presses that were typed before; EmulatorError if there is no window.
        """
        button = self._running().poll_button()
        return None if button is None else self.buttons.index(button)

    @property
    def window(self) -> Window | None:
        """The window in which a person plays, with the waiting presses; None without one."""
        return self._running().window

    def _running(self) -> Emulator:
        if self._emulator is None:
            raise EmulatorError("this environment was closed: make another one.")
        return self._emulator

    @property
    def _tier(self) -> Tier:
        return find_tier(self.tier or DEFAULT_TIER)

    def _check_milestone(self, name: str | None) -> None:
        ids = [milestone.id for milestone in self.milestones]
        if name is not None and name not in ids:
            raise ValueError(f"{self.game.name} has no milestone {name!r}; it has {', '.join(ids) if ids else 'none at all'}.")

    def _check_has_worlds(self, given: list[str]) -> None:
        if not self.game.has_worlds:
            raise ValueError(
                f"{self.game.name} ({self.game.id}) has no worlds: leave out {' and '.join(given)}, and start from saved "
                "states (start_state) or at power-on."
            )

    def _choose_worlds(self, given: list[str], worlds: str | int | Sequence[int] | None, tier: str | None) -> None:
        """Set `worlds` and `tier` from the arguments of which at least one was given."""
        self._check_has_worlds(given)
        if self._start_states is not None:
            raise ValueError(f"start_state and {given[0]} exclude each other: a saved state holds its own world and place.")
        self._check_milestone(self.start_milestone)
        self.tier = tier or DEFAULT_TIER
        if not self._tier.compass and not can_hide_compass(self._rom.header.sha256):
            raise ValueError(
                f"tier {self.tier} has no compass, and this build of {self.game.name} can't hide it: take the bundled ROM, or "
                "choose T2."
            )
        self.worlds = _worlds(self._tier.worlds if worlds is None else worlds)
        if self._tier.has_splits and 0 in self.worlds:
            raise ValueError(f"tier {self.tier} is played in other worlds than world 0: leave world 0 out of worlds, or choose T1.")

    def _draw_start(self, options: dict[str, Any]) -> tuple[Path | None, int | None, str | None]:
        """Return the state file, the world and the milestone that the episode starts at; None for those that do not apply."""
        path, world, milestone = options.get("load_state"), options.get("world"), options.get("start_milestone")
        if given := [name for name in ("world", "start_milestone") if options.get(name) is not None]:
            self._check_has_worlds(given)
        if path is not None:
            if given:
                raise ValueError(f"load_state and {given[0]} exclude each other: a saved state holds its own world and place.")
            return path, None, None
        if not given and self.worlds is None:
            return (None if "load_state" in options else self._draw_start_state()), None, None
        if "start_milestone" in options:
            self._check_milestone(milestone)
        else:
            milestone = self.start_milestone
        worlds = self.worlds or (0,)
        # Drawn even if the world is named, so that all later draws are the same.
        drawn = worlds[int(self.np_random.integers(len(worlds)))]
        return None, int(drawn if world is None else _worlds([world])[0]), milestone

    def _draw_start_state(self) -> Path | None:
        if self._start_states is None:
            return None
        if len(self._start_states) == 1:
            return self._start_states[0]
        return self._start_states[int(self.np_random.integers(len(self._start_states)))]

    def _idle(self, frames: int | None, drawn_from: tuple[int, int]) -> None:
        """Let some frames pass without a button, at least one so that there is a screen, and wait until the game is at rest."""
        low, high = drawn_from
        if frames is None:
            frames = int(self.np_random.integers(low, high + 1))
        self._running().tick(max(1, frames))
        self._rest(self.game.settle_frames)

    def _load(self, path: str | Path) -> tuple[str, ...]:
        """Load a state file; return the milestones that it says were completed."""
        emulator = self._running()
        saved = state_files.read_state(path, self.identity)
        try:
            emulator.load_state(saved.data)
        except EmulatorError as error:
            raise state_files.StateFileError(
                f"the state {path} cannot be loaded: {error}. It is damaged, or of another ROM or emulator: record it again."
            ) from error
        return saved.milestones

    def _check_decodes(self, path: str | Path) -> None:
        """Raise StateFileError if the memory of a loaded state is not the game's."""
        try:
            self.game.decode(self.snapshot())
        except (LookupError, TypeError, ValueError) as error:
            raise state_files.StateFileError(
                f"the state {path} cannot be of {self.game.name} as it is known here: {error} Record it again."
            ) from error

    def _rest(self, frames: int) -> None:
        """Run until the game is at rest, at most `frames`, and the screen shows it."""
        emulator = self._running()
        if self.game.at_rest(emulator):
            return
        while frames > 0 and not self.game.at_rest(emulator):
            emulator.tick(min(_REST_CHECK_FRAMES, frames))
            frames -= _REST_CHECK_FRAMES
        emulator.tick(_PICTURE_FRAMES)

    def _info(self) -> dict[str, Any]:
        if self.state_in_info:
            return self.get_state()
        return {"milestones": self._tracker.info(), "prev_action": self._prev_action}


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _worlds(worlds: str | int | Sequence[int]) -> Sequence[int]:
    """Return the worlds that the argument of this name means, checked; a single number is one world."""
    if isinstance(worlds, str):
        return parse_worlds(worlds)
    numbers = cast(Sequence[int], worlds if hasattr(worlds, "__len__") else [worlds])
    if not len(numbers):
        raise ValueError("worlds is empty: give at least one world's number.")
    for world in numbers:
        if not isinstance(world, (int, np.integer)) or world < 0:
            raise ValueError(f"worlds holds {world!r}, but must be numbers from 0 on, or a text such as '1-999' or 'train'.")
    return tuple(numbers)


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} is {value}, but must be at least 1.")
    return value


def _range(name: str, value: tuple[int, int], least: int) -> tuple[int, int]:
    low, high = value
    if not least <= low <= high:
        raise ValueError(f"{name} is {low} to {high}, but must be two numbers, at least {least}, the smaller one first.")
    return low, high
