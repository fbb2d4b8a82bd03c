"""Game Boy games as Gymnasium environments."""

import gymnasium

from pokemon_env.gym_env import PokemonEnv

__all__ = ["PokemonEnv"]

if "Tallgrass-v1" not in gymnasium.registry:
    gymnasium.register(
        "Tallgrass-v1",
        entry_point="pokemon_env.gym_env:PokemonEnv",
        vector_entry_point="pokemon_env.vector_env:make_vector_env",
    )
