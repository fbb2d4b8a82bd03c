"""Read the professor's welcome to its end."""


def run(state):
    return "a"
