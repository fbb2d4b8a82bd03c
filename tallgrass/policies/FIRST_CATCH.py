"""Walk in tall grass until a monster comes, tire it out and throw balls; without balls ask the professor for more."""


def run(state):
    out_of_balls = state["game"]["objective"] == "GET_BALLS"
    if state["game"]["is_in_battle"]:
        return battle_action(state, catch=not out_of_balls)
    if action := close_what_is_open(state):
        return action
    if out_of_balls:
        return talk_to(state, "PROF", "LAB")
    if state["map"]["location"] != "ROUTE_1":
        return go_to_map(state, "ROUTE_1")
    return pace_in_grass(state)
