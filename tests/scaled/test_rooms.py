"""Each room of the trainer takes the options that it reads; import contracts hold the rest (pyproject.toml)."""

from tiny_base import ROOT

from scaled.config import FIELDS, GROUPS, TrainConfig

SCALED = ROOT / "scaled"


def test_only_the_run_room_takes_the_whole_configuration():
    whole = {str(path.relative_to(SCALED)) for path in SCALED.rglob("*.py") if "TrainConfig" in path.read_text()}
    # compare and online are commands on top of all, as train is; a policy reads what a run has left in its folder.
    others = {"compare.py", "generation/policy.py", "online/config.py"}
    assert {path for path in whole if not path.startswith(("run/", "config/"))} == others


def test_every_key_is_in_one_group():
    assert len(FIELDS) == sum(len(group.model_fields) for group in GROUPS)
    assert set(FIELDS) == set(TrainConfig.model_fields)
