"""Leave the laboratory by the mat."""


def run(state):
    return close_what_is_open(state) or go_to_map(state, "TOWN")
