"""What serves the metrics of `durably worker`. It needs what the extra `[metrics]` brings."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from durably.app.assembly import Assembly
from durably.cli.errors import Trouble
from durably.cli.serving import bound_or_trouble
from durably.server import metrics
from durably.server.access import LOOPBACK_HOSTS, Access, is_loopback
from durably.server.app import make_metrics_app
from durably.server.credentials import read_credentials
from durably.server.listening import listening, port_of

__all__ = ["MetricsPage", "metrics"]  # without the second there is nothing to serve


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """Where a worker shows its metrics, and to whom."""

    host: str
    port: int
    access: Access

    @classmethod
    def asked_for(cls, host: str, port: int, credentials: Path | None) -> MetricsPage:
        """Give the page at *host*, for whoever has one of the *credentials* in a file.

        Raises:
            Trouble: it would be for everybody on the network.
            ValidationError: the file is not one.
        """
        if credentials is None and not is_loopback(host):
            step = "Give it --metrics-credentials, a file as `durably serve` takes it."
            raise Trouble(f"At {host} metrics are not served without credentials.", step)
        keys, tokens = ((), ()) if credentials is None else read_credentials(credentials)
        hosts = tuple(dict.fromkeys((*LOOPBACK_HOSTS, _named(host))))
        return cls(host, port, Access(hosts=hosts, keys=keys, tokens=tokens))

    @asynccontextmanager
    async def shown(self, worker: Assembly) -> AsyncGenerator[str]:
        """Serve the metrics of an open *worker*, and give their address.

        Raises:
            Trouble: the port is taken.
        """
        bound = bound_or_trouble(self.host, self.port, "--metrics-port")
        async with listening(make_metrics_app(worker, self.access), [bound]):
            yield f"http://{_named(self.host)}:{port_of(bound)}/metrics"


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host
