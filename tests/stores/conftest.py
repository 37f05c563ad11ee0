"""The PostgreSQL that the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.stores.postgres_server import in_schema, postgres_url


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a server."""
    with postgres_url(tmp_path_factory.getbasetemp().parent / "postgres") as url:
        yield url


@pytest.fixture
def address(postgres: str) -> str:
    """Give the address of a store that nobody has opened yet."""
    return in_schema(postgres)
