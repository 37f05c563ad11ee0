from durably.core.batch import MAX_ITEMS_IN_BATCH, MAX_PAYLOAD_SIZE, batch_length

TOKEN_BYTES = 60
OVERHEAD = TOKEN_BYTES + 100


def test_the_limits_are_those_of_the_js_diff() -> None:
    assert (MAX_ITEMS_IN_BATCH, MAX_PAYLOAD_SIZE) == (250, 750 * 1024)


def test_nothing_queued_makes_an_empty_batch() -> None:
    assert batch_length([], TOKEN_BYTES) == 0


def test_what_fits_goes_out_together() -> None:
    assert batch_length([10] * 7, TOKEN_BYTES) == 7


def test_a_batch_has_at_most_250_updates() -> None:
    assert batch_length([1] * 251, TOKEN_BYTES) == 250


def test_a_batch_stops_before_the_update_that_would_pass_750_kib() -> None:
    half = (MAX_PAYLOAD_SIZE - OVERHEAD) // 2

    assert batch_length([half, half], TOKEN_BYTES) == 2
    assert batch_length([half, half + 1], TOKEN_BYTES) == 1


def test_an_update_that_is_too_large_alone_travels_alone() -> None:
    assert batch_length([MAX_PAYLOAD_SIZE, 1], TOKEN_BYTES) == 1
