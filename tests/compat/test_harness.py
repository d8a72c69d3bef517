"""The harness loses no failure of other people's tests, and excuses none without a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat import expectations
from compat.expectations import Exemption, Expectations
from compat.installation import COMPONENTS
from compat.results import CaseResult, Outcome, load, save
from compat.scores import Score
from compat.suites import SUITES
from compat.suites.librdkafka import declared, first_failure, parts
from compat.suites.librdkafka import parse as parse_summary
from compat.suites.scenarios import parse as parse_steps

TESTS = """
struct test tests[] = {
    {.name = "<MAIN>", .flags = TEST_F_LOCAL},
    _TEST(0000_unittests, TEST_F_LOCAL),
    _TEST(0001_multiobj, 0),
    _TEST(0011_produce_batch,
          0,
          /* Produces a lot of messages */
          _THRES(.ucpu = 40.0, .scpu = 8.0)),
    _TEST(0045_topic_remove,
          0,
          TEST_BRKVER(0, 9, 0, 0),
          .scenario = "noautocreate"),
#if WITH_SOCKEM
    _TEST(0049_conn_close, TEST_F_SOCKEM, TEST_BRKVER(0, 9, 0, 0)),
#endif
    _TEST(0076_retry_mock, 0),

    /* Manual tests */
    _TEST(8000_idle, TEST_F_MANUAL),

    {NULL}
};
"""

SUMMARY = """\
### Test "0001_multiobj (part:12)" failed at 0001.c:44:part() at Sat Nov 21 08:36:31 2026: ###
expected 1, got 2
### Test "<MAIN>" failed at test.c:1950:test_wait_exit() at Sat Nov 21 08:25:33 2026: ###
3 thread(s) still active in librdkafka
TEST 20261121083134 (bare, scenario default) SUMMARY
#==================================================================#
| <MAIN>                                   |     FAILED |   0.401s |
| 0001_multiobj                            |     FAILED |   1.250s | expected 1, got 2
| 0011_produce_batch                       |     PASSED |   0.500s |
| 0045_topic_remove                        |    SKIPPED |   0.000s | not here
#==================================================================#
"""


def results(*outcomes: Outcome) -> list[CaseResult]:
    return [
        CaseResult(suite="kcat", case=f"case {i}", outcome=outcome, detail="why")
        for i, outcome in enumerate(outcomes)
    ]


def expecting(*may_fail: Exemption) -> Expectations:
    return Expectations(target="ottla", left_out=(), may_fail=may_fail)


def test_the_lines_of_a_scenario_become_results() -> None:
    output = "noise\nok one\nok two # SKIP cannot\nnot ok three, and more: it: broke\n"

    found = parse_steps("kcat", output)

    assert [(each.case, each.outcome, each.detail) for each in found] == [
        ("one", Outcome.PASSED, ""),
        ("two", Outcome.SKIPPED, "cannot"),
        ("three, and more", Outcome.FAILED, "it: broke"),
    ]


def test_cases_that_want_no_broker_are_not_among_those_of_librdkafka() -> None:
    assert [(case.name, case.scenario) for case in declared(TESTS)] == [
        ("0001_multiobj", "default"),
        ("0011_produce_batch", "default"),
        ("0045_topic_remove", "noautocreate"),
        ("0049_conn_close", "default"),
    ]


def test_the_summary_of_librdkafka_tells_each_case() -> None:
    assert parse_summary(SUMMARY) == {
        "0001_multiobj": (Outcome.FAILED, 1.25, "expected 1, got 2"),
        "0011_produce_batch": (Outcome.PASSED, 0.5, ""),
        "0045_topic_remove": (Outcome.SKIPPED, 0.0, "not here"),
    }


def test_the_first_failure_names_its_place_in_the_test() -> None:
    assert first_failure(SUMMARY) == "expected 1, got 2 (0001.c:44:part())"


def test_the_test_of_admin_calls_is_split_at_its_functions() -> None:
    source = (
        "static void do_test_apis(int type) {\n        do_test_A(1);\n        do_test_B(2);\n"
        "        do_test_A(3);\n}\nint main() {\n        do_test_C();\n}\n"
    )

    assert parts(source) == ["A", "B"]


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT, Outcome.SKIPPED])
def test_what_does_not_pass_is_unexpected_without_an_exemption(outcome: Outcome) -> None:
    score = Score.of(SUITES["kcat"], results(Outcome.PASSED, outcome), expecting())

    assert (len(score.passed), score.run, len(score.unexpected)) == (1, 2, 1)


def test_an_exemption_excuses_a_failure_with_its_reason() -> None:
    exemption = Exemption(suite="kca*", cases=["case 1"], reason="later")

    score = Score.of(SUITES["kcat"], results(Outcome.PASSED, Outcome.FAILED), expecting(exemption))

    assert [reason for _, reason in score.excused] == ["later"]
    assert not score.unexpected


def test_a_pass_that_nobody_expected_is_told() -> None:
    exemption = Exemption(suite="kcat", cases=["*"], reason="later")

    score = Score.of(SUITES["kcat"], results(Outcome.PASSED), expecting(exemption))

    assert len(score.surprising) == 1


def test_a_suite_that_could_not_be_run_has_no_passes() -> None:
    score = Score.of(SUITES["kcat"], results(Outcome.NOT_RUN), expecting())

    assert (score.not_run, score.run) == ("why", 0)


def test_brackets_in_the_name_of_a_case_stand_for_themselves(tmp_path: Path) -> None:
    path = tmp_path / "expectations.toml"
    path.write_text('[[may-fail]]\nsuite = "s"\ncases = ["test[a]"]\nreason = "r"\n')

    expected = expectations.read("ottla", path)

    assert expected.why_it_may_fail("s", "test[a]") == "r"
    assert expected.why_it_may_fail("s", "testa") is None


def test_an_exemption_for_one_target_holds_there_only(tmp_path: Path) -> None:
    path = tmp_path / "expectations.toml"
    path.write_text('[[left-out]]\nsuite = "s"\ncases = ["c"]\ntarget = "kafka"\nreason = "r"\n')

    assert expectations.read("kafka", path).why_left_out("s", "c") == "r"
    assert expectations.read("ottla", path).why_left_out("s", "c") is None


def test_every_exemption_names_a_suite_and_a_reason() -> None:
    expected = expectations.read("ottla")

    for exemption in (*expected.left_out, *expected.may_fail):
        assert exemption.reason
        assert any(exemption.covers(name, exemption.cases[0].replace("[[]", "["), exemption.target)
                   or name.startswith(exemption.suite.rstrip("*")) for name in SUITES)  # fmt: skip


def test_every_suite_needs_components_that_exist() -> None:
    assert {need for suite in SUITES.values() for need in suite.needs} <= COMPONENTS.keys()


def test_results_survive_a_file(tmp_path: Path) -> None:
    found = results(Outcome.PASSED, Outcome.TIMED_OUT)

    save(found, tmp_path / "results.jsonl")

    assert load(tmp_path / "results.jsonl") == found
