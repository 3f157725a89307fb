"""The learning rate over a run, by the papers' words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedet.training.options import TrainingOptions
from edgedet.training.schedules import Schedule, schedule


def test_cosine_rises_over_the_warm_up_and_falls_to_zero() -> None:
    options = TrainingOptions(epochs=10, learning_rate=0.16, warmup_epochs=1)
    rate = schedule(options, batch_size=16, steps=100)
    assert rate.at(0) == pytest.approx(0.16 / 100)
    assert rate.at(49) == pytest.approx(0.08)
    assert rate.at(100) == pytest.approx(0.16)
    assert rate.at(550) == pytest.approx(0.08)
    assert rate.at(775) == pytest.approx(0.08 * (1 + math.cos(0.75 * math.pi)), rel=1e-5)
    assert rate.at(1000) == pytest.approx(0, abs=1e-9)
    assert rate.at(5000) == pytest.approx(0, abs=1e-9)


def test_steps_come_at_parts_of_the_run() -> None:
    options = TrainingOptions(
        epochs=50,
        learning_rate=0.08,
        schedule="step",
        decay_at=(0.6, 0.8),
        decay_to=(0.1, 0.01),
        warmup_epochs=0,
    )
    rate = schedule(options, batch_size=64, steps=10)
    assert [rate.at(step) for step in (0, 299, 300, 399, 400, 499)] == pytest.approx(
        [0.08, 0.08, 0.008, 0.008, 0.0008, 0.0008]
    )


def test_a_warm_up_never_takes_more_than_a_fifth() -> None:
    options = TrainingOptions(epochs=2, learning_rate=1.0, warmup_epochs=5)
    assert schedule(options, batch_size=1, steps=50).warmup == 20


def test_accumulated_steps_make_one_update() -> None:
    options = TrainingOptions(
        epochs=10, learning_rate=1e-2, reference_batch=16, batch_size=16, accumulate=4
    )
    made = schedule(options, batch_size=16, steps=100)
    assert (made.total, made.warmup) == (250, 25)
    assert made.peak == pytest.approx(4e-2)
    assert [made.at(step) for step in range(4)] == [made.at(0)] * 4
    assert made.at(4) == pytest.approx(2 * made.at(0))
    assert made.at(1000) == pytest.approx(0, abs=1e-9)


@given(
    st.integers(0, 3000),
    st.integers(0, 500),
    st.sampled_from([((), ()), ((0.5,), (0.1,)), ((0.2, 0.9), (0.3, 0.01))]),
    st.integers(1, 5),
)
def test_tensors_and_numbers_get_the_same_rate(
    step: int, warmup: int, decays: tuple[tuple[float, ...], tuple[float, ...]], every: int
) -> None:
    made = Schedule(0.3, warmup, 2000, *decays, every)
    assert float(made(step)) == pytest.approx(made.at(step), rel=1e-5, abs=1e-7)
    assert 0 <= made.at(step) <= 0.3 + 1e-6


def test_a_schedule_survives_its_own_configuration() -> None:
    made = Schedule(0.3, 10, 2000, (0.5,), (0.1,), 3)
    again = Schedule.from_config(made.get_config())
    assert [again.at(step) for step in range(0, 2000, 77)] == [
        made.at(step) for step in range(0, 2000, 77)
    ]


def test_a_step_down_within_the_warm_up_never_raises_the_rate() -> None:
    made = Schedule(1.0, 100, 100, (0.1,), (0.5,))
    assert made.at(10) == pytest.approx(0.11)
    assert made.at(99) == pytest.approx(0.5)
