"""Game Boy games as Gymnasium environments."""

import gymnasium

from pokemon_env.gym_env import PokemonEnv

__all__ = ["PokemonEnv"]

if "Tallgrass-v1" not in gymnasium.registry:
    # The benchmark: one milestone, on unseen worlds, within the limit of each episode.
    gymnasium.register("Tallgrass-v1", entry_point="pokemon_env.known_infos:make_benchmark")
    # The game, as its arguments say.
    gymnasium.register(
        "Tallgrass-v0",
        entry_point="pokemon_env.gym_env:PokemonEnv",
        vector_entry_point="pokemon_env.vector_env:make_vector_env",
    )
