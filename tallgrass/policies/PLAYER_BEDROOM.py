"""Get out of bed: its right side is always free."""


def run(state):
    return close_what_is_open(state) or "right"
