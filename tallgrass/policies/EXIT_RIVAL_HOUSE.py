"""Hear Bram out in his room, then leave his house."""


def run(state):
    if action := close_what_is_open(state):
        return action
    if state["game"]["objective"] == "LEAVE_RIVAL":
        return go_to_map(state, "TOWN")
    return talk_to(state, "RIVAL", "RIVAL_2F")
