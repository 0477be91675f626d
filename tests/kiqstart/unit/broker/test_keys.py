import pytest

from kiqstart.broker.keys import QueueKeys


def all_keys(keys: QueueKeys) -> list[str]:
    others = {"name", "shared", "channel_suffix"}
    fixed = [value for name, value in vars(keys).items() if name not in others and not name.startswith("_")]
    return [*fixed, *keys.all_streams(["default", "low"]), keys.sender("1"), keys.result("1"), keys.progress("1")]


@pytest.mark.parametrize(("name", "tag"), [("taskiq", "taskiq"), ("{kiqstart}:tasks", "kiqstart"), ("a{b}c", "b")])
def test_all_keys_of_a_broker_are_on_one_node_of_a_cluster(name: str, tag: str) -> None:
    keys = all_keys(QueueKeys(name))
    assert len(set(keys)) == len(keys)
    for key in keys:
        # A key without braces hashes as a whole.
        assert key == tag or key[key.index("{") + 1 : key.index("}")] == tag


def test_empty_braces_are_no_hash_tag() -> None:
    assert QueueKeys("a{}b").workers == "{a{}b}:workers"


def test_the_default_queue_keeps_the_streams_name_that_taskiq_redis_gives_it() -> None:
    keys = QueueKeys("taskiq")
    assert keys.stream("default") == keys.stream("taskiq") == "taskiq"
    assert keys.streams("default") == (
        "{taskiq}:isolated",
        "{taskiq}:suspects",
        "{taskiq}:returned",
        "taskiq",
    )
    base = "{taskiq}:queue:low"
    assert keys.streams("low") == (f"{base}:isolated", f"{base}:suspects", f"{base}:returned", base)


def test_results_may_be_kept_under_another_name() -> None:
    assert QueueKeys("{kiqstart}:tasks", results="{kiqstart}:result").result("1") == "{kiqstart}:result:1"


def test_a_channel_has_the_number_of_its_database_where_that_is_not_0() -> None:
    assert QueueKeys("taskiq").channel_suffix == ""
    assert QueueKeys("taskiq", database=11).channel_suffix == "@db11"
