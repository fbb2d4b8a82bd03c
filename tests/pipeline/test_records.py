"""The pipeline's records, as files that somebody else reads."""

import csv
import json
from dataclasses import fields

import pytest

from pipeline.progress import PipelineProgress
from pipeline.records import PipelineRecords, PipelineRecordsError, Record, now

PROMISED = "milestone_id,index,timestamp,status,expert_success_rate,expert_mean_steps,max_episode_steps,dagger_final_success_rate"
COMPLETED = dict(
    expert_success_rate=1.0, expert_mean_steps=4.5, max_episode_steps=9, dagger_final_success_rate=0.9, expert_std_steps=0.5,
    expert_episodes=5, expert_test_success_rate=1.0, test_episodes=50, minutes=1.5, videos=("a/x.mp4", "b/y.mp4"),
)  # fmt: skip


def rows(folder):
    with (folder / "pipeline_results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_columns_begin_as_promised():
    assert ",".join(field.name for field in fields(Record)).startswith(PROMISED)


def test_a_skipped_milestone_comes_first_and_a_failed_one_is_not_lost(tmp_path):
    records = PipelineRecords(tmp_path)
    records.put(Record("A", 0, now(), "skipped", reason="--skip-milestones"))
    assert (tmp_path / "pipeline_results.csv").read_text().startswith(PROMISED)
    records.put(Record("C", 2, now(), "failed", expert_success_rate=0.2, reason='the "expert", he\nfails, 20 %'))
    records.put(Record("B", 1, now(), "completed", **COMPLETED))
    table = rows(tmp_path)
    assert [(row["milestone_id"], row["status"]) for row in table] == [("A", "skipped"), ("B", "completed"), ("C", "failed")]
    assert table[0]["expert_mean_steps"] == "" and table[1]["expert_mean_steps"] == "4.5"
    assert table[2]["reason"] == 'the "expert", he\nfails, 20 %' and table[2]["expert_success_rate"] == "0.2"
    content = json.loads((tmp_path / "pipeline_results.json").read_text())
    assert [entry["milestone_id"] for entry in content] == ["A", "B", "C"]
    assert content[1]["expert_std_steps"] == 0.5 and content[0]["expert_success_rate"] is None


def test_records_are_read_back_and_replaced(tmp_path):
    PipelineRecords(tmp_path).put(Record("A", 0, now(), "failed", reason="broken"))
    records = PipelineRecords(tmp_path)
    assert len(records) == 1 and records.get("A").reason == "broken" and records.get("B") is None
    records.put(Record("A", 0, now(), "completed", **COMPLETED))
    (record,) = PipelineRecords(tmp_path)
    assert record.status == "completed" and record.videos == COMPLETED["videos"]
    records.drop(["A", "B"])
    assert len(PipelineRecords(tmp_path)) == 0 and rows(tmp_path) == []


@pytest.mark.parametrize(
    "forged",
    [
        {"run_name": "../x"},
        {"milestone_id": "/x"},
        {"student": "../../x.pth"},
        {"student": "/x.pth"},
        {"videos": ["a/../../x.mp4"]},
        {"videos": ["/x.mp4"]},
        {"videos": [7]},
    ],
)
def test_names_in_records_lead_nowhere_else(tmp_path, forged):
    PipelineRecords(tmp_path).put(Record("A", 0, now(), "completed", **COMPLETED))
    path = tmp_path / "pipeline_results.json"
    path.write_text(json.dumps([row | forged for row in json.loads(path.read_text())]))
    with pytest.raises(PipelineRecordsError, match=r"pipeline_results.json cannot be read \("):
        PipelineRecords(tmp_path)


def test_columns_of_a_later_version_are_left_out(tmp_path):
    PipelineRecords(tmp_path).put(Record("A", 0, now(), "skipped"))
    path = tmp_path / "pipeline_results.json"
    path.write_text(json.dumps([row | {"more": 1} for row in json.loads(path.read_text())]))
    assert PipelineRecords(tmp_path).get("A").status == "skipped"


@pytest.mark.parametrize(
    "change",
    [
        {"milestone_id": 5}, {"index": "0"}, {"expert_mean_steps": "many"}, {"minutes": True}, {"videos": "ab"}, {"videos": [1]},
        {"reason": [1]},
    ],
)  # fmt: skip
def test_values_of_another_type_are_told(tmp_path, change):
    PipelineRecords(tmp_path).put(Record("A", 0, now(), "completed", **COMPLETED))
    path = tmp_path / "pipeline_results.json"
    path.write_text(json.dumps([row | change for row in json.loads(path.read_text())]))
    with pytest.raises(PipelineRecordsError, match=f"has the {next(iter(change))} .*; move it away"):
        PipelineRecords(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[" * 100_000, "5", "null", '[{"milestone_id": "A"}]', "[1]",
        '[{"milestone_id":"A","index":0,"timestamp":"","status":"x"}]',
    ],
)  # fmt: skip
def test_what_is_no_list_of_records_is_told(tmp_path, text):
    (tmp_path / "pipeline_results.json").write_text(text)
    with pytest.raises(PipelineRecordsError, match="move it away"):
        PipelineRecords(tmp_path)


def test_progress_tells_of_iterations_and_the_time_that_is_left(capsys):
    with PipelineProgress(["A", "B"], 4) as progress:
        progress._report.every = 0.0
        progress.at("A", "the expert plays")
        progress.heard("A", '{"event": "rollout", "iteration": 1, "success_rate": 0.75, "text": "success 3/4"}')
        progress.heard("A", "iteration 1: success 3/4, as people read it")
        progress.heard("A", "training: 3/20")
        progress.done(Record("A", 0, now(), "completed", **COMPLETED))
        progress.done(Record("B", 1, now(), "failed", reason="the [expert] fails"))
    said = capsys.readouterr().out
    assert "A: iteration 1: success 3/4" in said and "training" not in said and "people" not in said
    assert "pipeline: 2/12" in said and "A iteration 1, 75 %; about 0 min left" in said
    assert "A: completed: 90 % of 50 test episodes, the expert 100 %; 1.5 min" in said and "B: failed: the [expert] fails" in said
    assert "12/12" in said.splitlines()[-1] and "2 of 2 milestones" in said.splitlines()[-1]
