"""What the scripts share: networks, buffers, demonstrations, evaluation, checkpoints, logging and video."""
