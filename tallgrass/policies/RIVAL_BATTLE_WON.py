"""Talk to Bram in the laboratory and win; a lost battle ends at home, healed, and one comes back for another."""


def run(state):
    return close_what_is_open(state) or talk_to(state, "RIVAL", "LAB")
