"""Go up to Bram's room."""


def run(state):
    return close_what_is_open(state) or go_to_map(state, "RIVAL_2F")
