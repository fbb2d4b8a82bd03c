"""Pass the wall by the gap that is open, which a sign tells, and beat the trainer behind it."""


def run(state):
    if action := close_what_is_open(state):
        return action
    if state["game"]["objective"] == "READ_SIGN":
        return read_sign(state, "T_SIGN_FORK", "ROUTE_2")
    return talk_to(state, "T_TRAINER_ROUTE", "ROUTE_2")
