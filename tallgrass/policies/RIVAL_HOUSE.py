"""Cross the town to Bram's house."""


def run(state):
    return close_what_is_open(state) or go_to_map(state, "RIVAL_1F")
