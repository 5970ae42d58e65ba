"""WebSocket close codes, one table for the whole product.

The range tells a client what to do: 1000-1015 as RFC 6455 section 7.4; 4000-4499 come back
(with jitter); 4500-4999 do not come back before something changes on your side.
"""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """Why a connection ends."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012

    SLOW_CONSUMER = 4000
    RECOVERY_REFUSED = 4001
    IDLE_TIMEOUT = 4002
    DRAINING = 4003

    UNAUTHORIZED = 4500
    FORBIDDEN_ORIGIN = 4501
    FLOODING = 4502
    TOO_MANY_CONNECTIONS = 4503
