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
    def asked_for(
        cls, host: str, port: int, credentials: Path | None, *, is_behind_proxy: bool
    ) -> MetricsPage:
        """Give the page at *host*, for whoever has one of the *credentials* in a file.

        Raises:
            Trouble: it would be for everybody on the network, or without TLS.
            ValidationError: the file is not one.
        """
        if not is_loopback(host) and not (credentials and is_behind_proxy):
            step = (
                "Give it --metrics-credentials, a file as `durably serve` takes it, put a proxy in"
                " front that speaks TLS, say --metrics-behind-proxy."
            )
            raise Trouble(f"At {host} metrics are not shown without credentials and TLS.", step)
        keys, tokens = ((), ()) if credentials is None else read_credentials(credentials)
        hosts = tuple(dict.fromkeys((*LOOPBACK_HOSTS, _named(host))))
        access = Access(hosts=hosts, keys=keys, tokens=tokens, is_behind_proxy=is_behind_proxy)
        return cls(host, port, access)

    @asynccontextmanager
    async def shown(self, worker: Assembly) -> AsyncGenerator[str]:
        """Serve the metrics of an open *worker*, and give their address.

        Raises:
            Trouble: the port is taken.
        """
        bound = bound_or_trouble(self.host, self.port, "--metrics-port")
        app, is_secure = make_metrics_app(worker, self.access), self.access.is_behind_proxy
        async with listening(app, [bound], is_secure=is_secure):
            yield f"http://{_named(self.host)}:{port_of(bound)}/metrics"


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host
