"""Start the game from the title screen."""


def run(state):
    return "start"
