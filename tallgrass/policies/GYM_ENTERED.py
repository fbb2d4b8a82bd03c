"""Go on to the gym, whose door is open once the trainer before it is beaten."""


def run(state):
    return close_what_is_open(state) or go_to_map(state, "GYM")
