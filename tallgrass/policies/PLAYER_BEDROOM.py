"""Get out of bed, on whichever side is free."""


def run(state):
    return close_what_is_open(state) or step_aside(state)
