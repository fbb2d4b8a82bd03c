"""Talk to Mom, who unlocks the door, and go out by the mat."""


def run(state):
    if action := close_what_is_open(state):
        return action
    if state["game"]["objective"] == "TALK_MOM":
        return talk_to(state, "MOM", "HOUSE_1F")
    return go_to_map(state, "TOWN")
