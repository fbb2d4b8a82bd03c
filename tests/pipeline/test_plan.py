"""Which milestones a pipeline works on."""

import pytest

from pipeline.folder import PipelineError
from pipeline.plan import check_names, plan
from pipeline.records import PipelineRecords, Record, now

IDS = ["GAME_RUNNING", "PLAYER_NAME_SET", "INTRO_CUTSCENE_COMPLETE"]


def test_what_is_to_be_done(tmp_path):
    records = PipelineRecords(tmp_path)
    records.put(Record(IDS[0], 0, now(), "completed"))
    assert plan(IDS, records) == (IDS[1:], {})
    skip = dict(skip_milestones=(IDS[0], IDS[2]))
    assert plan(IDS, records, **skip) == ([IDS[1]], {IDS[2]: "--skip-milestones"})
    assert plan(IDS, records, resume_from=IDS[2]) == ([IDS[2]], {IDS[1]: f"--resume-from {IDS[2]}"})
    assert plan(IDS, records, milestone=IDS[1], resume_from=IDS[2], skip_milestones=(IDS[1],)) == ([IDS[1]], {})
    assert plan(IDS, records, milestone=IDS[0]) == ([], {})
    records.put(Record(IDS[2], 2, now(), "failed", reason="broken"))
    assert plan(IDS, records, **skip) == ([IDS[1]], {})  # why it failed stays known
    assert plan(IDS, records) == (IDS[1:], {})


@pytest.mark.parametrize("flag", ["milestone", "resume_from", "skip_milestones"])
def test_names_that_are_no_milestone_s(flag):
    known: dict[str, object] = dict(milestone=None, resume_from=IDS[1], skip_milestones=(IDS[2],))
    check_names(IDS, "config.json", **known)
    wrong = ("NOWHERE",) if flag == "skip_milestones" else "NOWHERE"
    with pytest.raises(PipelineError, match=f"^--{flag.replace('_', '-')}: no milestone NOWHERE; config.json has GAME_RUNNING, "):
        check_names(IDS, "config.json", **known | {flag: wrong})
