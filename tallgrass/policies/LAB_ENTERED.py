"""Cross the town to the laboratory."""


def run(state):
    return close_what_is_open(state) or go_to_map(state, "LAB")
