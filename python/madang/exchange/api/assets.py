"""Assets: the venue's instruments, from this worker's directory."""

from __future__ import annotations

from typing import Final

from madang.edge import Request, Response, json_response
from madang.exchange.api import schemas
from madang.exchange.api.decimals import price_text, quantity_text
from madang.exchange.api.refusals import not_found
from madang.exchange.directory import DirectoryReplica, Instrument
from madang.wire.codes import QUANTITY_SCALE

ASSET_CLASS: Final = "us_equity"


class AssetMethods:
    """Handlers of /v2/assets."""

    def __init__(self, replica: DirectoryReplica) -> None:
        self._replica = replica

    def list_all(self, request: Request) -> Response:
        """GET /v2/assets."""
        query = request.query_as(schemas.AssetsQuery)
        instruments = sorted(
            self._replica.directory.instruments.values(), key=lambda found: found.symbol
        )
        if query.status == "inactive" or query.attributes:
            instruments = []
        if query.asset_class and query.asset_class != ASSET_CLASS:
            instruments = []
        return json_response(
            [
                asset_entity(instrument)
                for instrument in instruments
                if not query.exchange or instrument.exchange == query.exchange
            ]
        )

    def get(self, request: Request) -> Response:
        """GET /v2/assets/{symbol_or_asset_id}."""
        instrument = self._replica.directory.instrument(request.parameters["symbol_or_asset_id"])
        if instrument is None:
            raise not_found("asset not found")
        return json_response(asset_entity(instrument))


def asset_entity(instrument: Instrument) -> schemas.Asset:
    """Return the Asset entity."""
    return schemas.Asset(
        id=instrument.asset_id,
        asset_class="us_equity",
        exchange=instrument.exchange,
        symbol=instrument.symbol,
        name=instrument.name,
        status="active",
        tradable=True,
        marginable=False,
        shortable=False,
        easy_to_borrow=False,
        fractionable=instrument.lot < QUANTITY_SCALE,
        min_order_size=quantity_text(instrument.lot),
        min_trade_increment=quantity_text(instrument.lot),
        price_increment=price_text(instrument.tick),
        attributes=[],
    )
