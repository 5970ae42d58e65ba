//! The small numbers of the market's records (see `python/madang/wire/codes.py`).
//!
//! A number never changes its meaning: logs are read for ever.

/// Largest price, in 1/10,000 of the currency.
pub(crate) const PRICE_MAX: i64 = 10_000_000_000_000;
/// Largest quantity, in 1/1,000,000,000 share.
pub(crate) const QUANTITY_MAX: i64 = 1_000_000_000_000_000_000;
/// Largest amount of money, in 1/1,000,000 of the currency.
pub(crate) const CASH_MAX: i64 = 9_000_000_000_000_000_000;
/// Largest fee, in parts per million of a fill's value.
pub(crate) const FEE_PPM_MAX: u32 = 100_000;
/// A value (price times quantity, 13 decimals) per unit of cash (6 decimals).
pub(crate) const VALUE_PER_CASH: u128 = 10_000_000;
/// Parts per million.
pub(crate) const PPM: u128 = 1_000_000;
/// One unit of currency as a price: below it, fine ticks apply.
pub(crate) const PRICE_UNIT: i64 = 10_000;
/// The largest tick that becomes 1 below one unit of currency.
pub(crate) const FINE_TICK_MAX: i64 = 100;
/// The version of the rules that this engine implements.
pub(crate) const RULES_VERSION: u32 = 1;
/// Keys of sessions this many before the new one go at the end of a day.
pub(crate) const KEY_SESSIONS_KEPT: u32 = 3;

/// Kinds of commands.
pub(crate) mod command {
    pub(crate) const NEW_ORDER: u8 = 1;
    pub(crate) const REPLACE_ORDER: u8 = 2;
    pub(crate) const CANCEL_ORDER: u8 = 3;
    pub(crate) const CANCEL_ALL: u8 = 4;
    pub(crate) const TRANSFER: u8 = 5;
    pub(crate) const CREATE_ACCOUNT: u8 = 6;
    pub(crate) const SET_ACCOUNT: u8 = 7;
    pub(crate) const SET_CREDENTIAL: u8 = 8;
    pub(crate) const SET_INSTRUMENT: u8 = 9;
    pub(crate) const SET_SESSION: u8 = 10;
    pub(crate) const SET_FEES: u8 = 11;
    pub(crate) const END_DAY: u8 = 12;
    pub(crate) const EXPIRE_KEYS: u8 = 13;
    pub(crate) const SET_RULES: u8 = 14;
    pub(crate) const SET_LIMITS: u8 = 15;
}

/// Kinds of events and of query records.
pub(crate) mod event {
    pub(crate) const ORDER: u8 = 1;
    pub(crate) const TRADE: u8 = 2;
    pub(crate) const RESULT: u8 = 3;
    pub(crate) const TRANSFER: u8 = 4;
    pub(crate) const ACCOUNT: u8 = 5;
    pub(crate) const CREDENTIAL: u8 = 6;
    pub(crate) const INSTRUMENT: u8 = 7;
    pub(crate) const SESSION: u8 = 8;
    pub(crate) const FEES: u8 = 9;
    pub(crate) const DAY: u8 = 10;
    pub(crate) const POSITION: u8 = 11;
    pub(crate) const LEVEL: u8 = 12;
}

/// What happened to an order.
pub(crate) mod order_event {
    pub(crate) const ACCEPTED: u8 = 1;
    pub(crate) const NEW: u8 = 2;
    pub(crate) const PARTIAL_FILL: u8 = 3;
    pub(crate) const FILL: u8 = 4;
    pub(crate) const CANCELED: u8 = 5;
    pub(crate) const EXPIRED: u8 = 6;
    pub(crate) const REPLACED: u8 = 7;
    pub(crate) const RESTATED: u8 = 8;
}

/// Where an order stands; `FILLED` and above are final.
pub(crate) mod status {
    pub(crate) const ACCEPTED: u8 = 1;
    pub(crate) const NEW: u8 = 2;
    pub(crate) const PARTIALLY_FILLED: u8 = 3;
    pub(crate) const FILLED: u8 = 4;
    pub(crate) const CANCELED: u8 = 5;
    pub(crate) const EXPIRED: u8 = 6;
    pub(crate) const REPLACED: u8 = 7;
}

/// Why an order ended without being filled.
pub(crate) mod close_reason {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const REQUESTED: u8 = 1;
    pub(crate) const UNFILLED: u8 = 2;
    pub(crate) const SELF_TRADE: u8 = 3;
    pub(crate) const ACCOUNT_DISABLED: u8 = 4;
    pub(crate) const END_OF_DAY: u8 = 5;
    pub(crate) const REPLACED: u8 = 6;
}

/// Order types, times in force, self-trade modes, flags.
pub(crate) mod terms {
    pub(crate) const BUY: u8 = 1;
    pub(crate) const SELL: u8 = 2;

    pub(crate) const MARKET: u8 = 1;
    pub(crate) const LIMIT: u8 = 2;
    pub(crate) const STOP: u8 = 3;
    pub(crate) const STOP_LIMIT: u8 = 4;

    pub(crate) const DAY: u8 = 1;
    pub(crate) const GTC: u8 = 2;
    pub(crate) const IOC: u8 = 3;
    pub(crate) const FOK: u8 = 4;

    // 0, cancel newest, is what every mode not named here does.
    pub(crate) const CANCEL_OLDEST: u8 = 1;
    pub(crate) const CANCEL_BOTH: u8 = 2;
    pub(crate) const DECREMENT: u8 = 3;
    pub(crate) const REFUSE: u8 = 4;

    pub(crate) const EXTENDED_HOURS: u8 = 1;
    pub(crate) const TRIGGERED: u8 = 2;
}

/// The state of an instrument or of the market; the larger of both holds.
pub(crate) mod session {
    pub(crate) const OPEN: u8 = 0;
    pub(crate) const CLOSED: u8 = 2;
}

/// Account states.
pub(crate) mod account_state {
    pub(crate) const ACTIVE: u8 = 0;
    pub(crate) const DISABLED: u8 = 1;
}

/// Kinds of credentials.
pub(crate) mod credential {
    pub(crate) const API_KEY: u8 = 1;
    pub(crate) const ROLE: u8 = 3;
}

/// The outcome of a command: `Ok`, or why it changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum Reason {
    Ok = 0,
    UnknownAccount = 1,
    AccountDisabled = 2,
    UnknownInstrument = 3,
    UnknownOrder = 4,
    DuplicateClientOrderId = 5,
    InsufficientCash = 6,
    InsufficientShares = 7,
    ShortNotAllowed = 8,
    BadQuantity = 9,
    BadLot = 10,
    BadPrice = 11,
    BadTick = 12,
    BadNotional = 13,
    ValueTooLarge = 14,
    BadFields = 15,
    SessionClosed = 16,
    NoReferencePrice = 17,
    WashTrade = 18,
    TooManyOrders = 19,
    TooManyKeys = 20,
    NotReplaceable = 21,
    NothingChanged = 22,
    QuantityBelowFilled = 23,
    BalanceOutOfRange = 24,
    DuplicateName = 25,
    BadCommand = 26,
    UnknownRules = 27,
}
