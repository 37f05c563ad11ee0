import pytest

from durably.core.ids import hash_id


@pytest.mark.parametrize(
    ("step_id", "operation_id"),
    [
        ("1", "c4ca4238a0b92382"),
        ("1-2", "98c6f2c2287f4c73"),
        ("1-1-1", "2f221a18eb863803"),
        ("1-2-3", "453e406dcee4d181"),
    ],
)
def test_ids_are_those_of_the_other_sdks(step_id: str, operation_id: str) -> None:
    assert hash_id(step_id) == operation_id
