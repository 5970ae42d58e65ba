"""`GET /web/overview`: every symbol at a glance, for anybody."""

from __future__ import annotations

from madang.edge import Request, Response, json_response
from madang.exchange.api.market_overview import Overview


class WebOverview:
    """Handler of /web/overview."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    async def get(self, _request: Request) -> Response:
        """GET /web/overview."""
        return json_response(await self._overview.rows())
