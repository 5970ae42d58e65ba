"""Limits of the streams, the table `[stream]`."""

import msgspec


class StreamSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much a client of the streams may ask for."""

    trading_messages_per_s_max: int = 20_000  # /stream, where orders come: close 4502
    data_subscriptions_max: int = 1_000  # of a connection to the data stream: error 405
    data_connections_per_account_max: int = 4_096  # on one worker: error 406, close 4503

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
