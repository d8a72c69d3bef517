"""Whoever waits as long as he is told keeps to the rate of his quota, in the long run and together
with those who share it.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.cluster.client_rates import ClientRates, Quota, QuotaWindows
from ottla.model.image import QuotaEntity

WINDOWS = QuotaWindows(samples=11, size_ms=1_000)
APP = Quota(1_000.0, QuotaEntity(client_id="app"))
OTHER = Quota(1_000.0, QuotaEntity(client_id="other"))


def sent_within(rates: ClientRates, quota: Quota, sizes: list[int], duration_ms: int) -> int:
    """Send these again and again, waiting as told; return how many bytes that were."""
    now_ms, sent = 0, 0
    while True:
        for size in sizes:
            rates.spend(quota, size, now_ms)
            sent += size
            now_ms += max(1, rates.wait_ms(quota, now_ms))
            if now_ms >= duration_ms:
                return sent


@given(
    rate=st.floats(1_000, 1e9),
    seconds=st.lists(st.floats(0.5, 10.0), min_size=1, max_size=5),
    samples=st.integers(1, 20),
)
def test_rate_is_kept_in_the_long_run(rate: float, seconds: list[float], samples: int) -> None:
    windows = QuotaWindows(samples=samples, size_ms=1_000)
    # None alone is more than can be waited for.
    sizes = [int(rate * min(each, samples)) for each in seconds]
    duration_ms = 40 * windows.ahead_ms

    sent = sent_within(ClientRates(windows), Quota(rate, APP.shared_by), sizes, duration_ms)

    in_time = rate * duration_ms / 1000
    made_up_for = rate * windows.back_ms / 1000
    assert sent == pytest.approx(in_time + made_up_for, rel=0.05, abs=max(sizes))


def test_client_within_its_quota_never_waits() -> None:
    rates = ClientRates(WINDOWS)

    for now_ms in range(0, 60_000, 100):
        rates.spend(APP, 100, now_ms)
        assert rates.wait_ms(APP, now_ms) == 0


def test_client_may_make_up_for_all_windows_but_one() -> None:
    rates = ClientRates(WINDOWS)

    rates.spend(APP, 10_000, 1_000_000)
    assert rates.wait_ms(APP, 1_000_000) == 0
    rates.spend(APP, 1, 1_000_000)
    assert rates.wait_ms(APP, 1_000_000) == 1


def test_what_would_take_longer_than_all_windows_is_forgiven() -> None:
    rates = ClientRates(WINDOWS)

    rates.spend(APP, 10**12, 0)

    assert rates.wait_ms(APP, 0) == WINDOWS.ahead_ms
    assert rates.wait_ms(APP, WINDOWS.ahead_ms) == 0


def test_quotas_do_not_wait_for_each_other() -> None:
    rates = ClientRates(WINDOWS)

    rates.spend(APP, 20_000, 0)

    assert (rates.wait_ms(APP, 0), rates.wait_ms(OTHER, 0)) == (10_000, 0)


@pytest.mark.parametrize(("factor", "wait_ms"), [(2.0, 2_500), (0.5, 10_000), (0.1, 11_000)])
def test_bytes_stay_what_they_were_when_the_rate_changes(factor: float, wait_ms: int) -> None:
    rates = ClientRates(WINDOWS)
    rates.spend(APP, 15_000, 0)
    assert rates.wait_ms(APP, 0) == 5_000

    assert rates.wait_ms(APP._replace(bytes_per_second=factor * 1_000), 0) == wait_ms


def test_those_who_were_idle_for_long_are_forgotten() -> None:
    rates = ClientRates(WINDOWS)
    for number in range(100):
        rates.spend(Quota(1_000.0, QuotaEntity(client_id=str(number))), 500, 0)

    rates.spend(APP, 1, 500)

    assert len(rates) == 1


def test_of_too_many_those_are_kept_that_were_heard_from_last() -> None:
    rates = ClientRates(WINDOWS, entities_max=10)
    for number in range(100):
        rates.spend(Quota(1_000.0, QuotaEntity(client_id=str(number))), 20_000, 0)

    assert len(rates) == 10
    assert rates.wait_ms(Quota(1_000.0, QuotaEntity(client_id="99")), 0) == 10_000


def test_portion_is_what_can_be_waited_off() -> None:
    rates = ClientRates(WINDOWS)

    rates.spend(APP, 10_000 + rates.portion_bytes(APP), 0)

    assert rates.wait_ms(APP, 0) == 10_000 < WINDOWS.ahead_ms
