"""The rules that every store keeps, as a class of tests."""

from __future__ import annotations

from durably.testing.store_rules_journal import JournalRules
from durably.testing.store_rules_schedule import ScheduleRules
from durably.testing.store_rules_search import SearchRules


class StoreSuite(JournalRules, ScheduleRules, SearchRules):
    """What a store must do, tested through its contract only.

    A test module of yours inherits it and makes a store, empty and not yet open, for each test:

        class TestMyStore(StoreSuite):
            @pytest.fixture
            def store(self, tmp_path: Path) -> MyStore:
                return MyStore(tmp_path / "journal")

    Attributes:
        is_shared: whether several processes may have it open at once. Then nothing tells that the
            owner of a claim is gone but the end of its lease.
    """
