//! The engine: the whole state, and the path of one command through it.
//!
//! A command is a repeat, or malformed, or it is applied and its outcome remembered; in each case its
//! last event is its RESULT. A refused command changed nothing. What "must not happen" is asserted: a
//! panic means the state can no longer be trusted, and the process has to end.

use std::collections::{BTreeMap, VecDeque};

use crate::account::{Account, Credentials};
use crate::bytes::u16_at;
use crate::codes::{command, Reason};
use crate::command::{Batch, BatchError, Command};
use crate::history::{History, Outcome, UsedKey};
use crate::instrument::Instrument;
use crate::order::Orders;
use crate::output::{CommandResult, Output, Refusal};

/// Default limit of remembered keys, and of remembered outcomes.
const KEYS_MAX: u64 = 10_000_000;
/// Default limit of live orders in one account.
const OPEN_ORDERS_MAX: u64 = 100_000;

/// Commands whose places in memory are read together before they are applied.
const LOOK_AHEAD: usize = 16;

/// The latest time of a batch: its commands' own times follow and must fit as well.
const TIME_MAX: i64 = i64::MAX - u32::MAX as i64;

/// The market's state machine: batches of commands in, events out.
pub struct Engine {
    pub(crate) out: Output,
    pub(crate) orders: Orders,
    pub(crate) accounts: Vec<Account>,
    pub(crate) account_names: BTreeMap<Vec<u8>, u32>,
    pub(crate) instruments: Vec<Instrument>,
    pub(crate) symbols: BTreeMap<Vec<u8>, u32>,
    pub(crate) credentials: Credentials,
    pub(crate) keys: History<UsedKey>,
    pub(crate) outcomes: History<Outcome>,
    pub(crate) session_number: u32,
    pub(crate) next_order: u64,
    pub(crate) next_trade: u64,
    pub(crate) next_priority: u64,
    pub(crate) next_credential: u64,
    pub(crate) maker_ppm: u32,
    pub(crate) taker_ppm: u32,
    pub(crate) market_session: u8,
    pub(crate) keys_max: u64,
    pub(crate) open_orders_max: u64,
    /// Cash deposited less cash withdrawn: the sum over all accounts.
    pub(crate) cash_total: i128,
    /// Stops whose price was reached in this command, in the order in which they go.
    pub(crate) triggered: VecDeque<u32>,
}

/// What an applied command reports.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) number: u64,
    pub(crate) a: i64,
    pub(crate) b: i64,
    pub(crate) order: Option<u32>,
}

impl Done {
    pub(crate) fn about(number: impl Into<u64>) -> Done {
        Done { number: number.into(), ..Done::default() }
    }
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::new()
    }
}

impl Engine {
    /// An empty market with the fee account.
    pub fn new() -> Engine {
        let fees = Account::new(0, b"fees", 0);
        Engine {
            out: Output::new(),
            orders: Orders::new(),
            account_names: BTreeMap::from([(fees.name.clone(), 0)]),
            accounts: vec![fees],
            instruments: Vec::new(),
            symbols: BTreeMap::new(),
            credentials: Credentials::default(),
            keys: History::new(),
            outcomes: History::new(),
            session_number: 1,
            next_order: 1,
            next_trade: 1,
            next_priority: 1,
            next_credential: 1,
            maker_ppm: 0,
            taker_ppm: 0,
            market_session: 0,
            keys_max: KEYS_MAX,
            open_orders_max: OPEN_ORDERS_MAX,
            cash_total: 0,
            triggered: VecDeque::new(),
        }
    }

    /// The number of the last command applied; 0 in the beginning.
    pub fn sequence(&self) -> u64 {
        self.out.sequence
    }

    /// The time of the last command applied.
    pub fn now_ns(&self) -> i64 {
        self.out.now_ns
    }

    /// Apply one batch record; returns its events, concatenated, until the next call.
    ///
    /// # Errors
    /// `BatchError` where the bytes are not a batch or do not follow the last one: nothing was changed.
    pub fn apply(&mut self, data: &[u8]) -> Result<&[u8], BatchError> {
        let batch = Batch::parse(data)?;
        if batch.sequence != self.out.sequence + 1 {
            return Err(BatchError::OutOfOrder("a batch must follow the last sequence"));
        }
        if batch.now_ns <= self.out.now_ns || batch.now_ns > TIME_MAX {
            return Err(BatchError::OutOfOrder("time must increase from batch to batch"));
        }
        self.out.clear();
        self.out.now_ns = batch.now_ns - 1;
        let mut rest = batch.commands;
        while !rest.is_empty() {
            self.look_ahead(rest);
            for _ in 0..LOOK_AHEAD {
                let (record, after) = rest.split_at(u16_at(rest, 0) as usize);
                self.out.sequence += 1;
                self.out.now_ns += 1;
                self.apply_command(&Command::new(record));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
        }
        Ok(self.out.bytes())
    }

    /// Read where the next commands' requests, keys and orders are, all at once: each is somewhere
    /// else in memory, and waiting for them one after another would take most of a command's time.
    #[inline]
    fn look_ahead(&self, commands: &[u8]) {
        let mut rest = commands;
        let mut seen = 0;
        for _ in 0..LOOK_AHEAD {
            if rest.is_empty() {
                break;
            }
            let (record, after) = rest.split_at(u16_at(rest, 0) as usize);
            let command = Command::new(record);
            seen ^= self.outcomes.peek(command.request);
            if let Some(key) = command.client_key() {
                seen ^= self.keys.peek(key);
            }
            if let Some(account) = self.accounts.get(command.account as usize) {
                seen ^= account.peek();
            }
            if let Some(slot) = command.named_order().and_then(|id| self.orders.find(id)) {
                seen ^= self.orders.peek(slot);
            }
            rest = after;
        }
        std::hint::black_box(seen);
    }

    fn apply_command(&mut self, command: &Command) {
        let named = command.request != [0, 0];
        if named && self.repeat(command) {
            return;
        }
        let (applied, remembered) = match command.parts() {
            None => (Err(Reason::BadCommand.into()), true),
            Some(_) if command.is_order() && self.memory_is_full() => {
                (Err(Reason::TooManyKeys.with(self.keys_max as i64, 0)), false)
            }
            Some((body, texts)) => (self.dispatch(command, body, texts), true),
        };
        let (reason, done) = match applied {
            Ok(done) => (Reason::Ok, done),
            Err(Refusal { reason, a, b }) => {
                (reason, Done { number: command.asked_order(), a, b, order: None })
            }
        };
        let result = CommandResult {
            account: command.account,
            request: command.request,
            reason: reason as u16,
            repeat: false,
            kind: command.kind,
            number: done.number,
            a: done.a,
            b: done.b,
            order: done.order,
        };
        self.out.result(&self.orders, &result);
        self.orders.sweep();
        if named && remembered {
            self.outcomes.push(Outcome {
                request: command.request,
                reason: reason as u16,
                kind: command.kind,
                session: self.session_number,
                number: done.number,
                a: done.a,
                b: done.b,
            });
        }
    }

    /// Answer a request that is known already with its first outcome.
    fn repeat(&mut self, command: &Command) -> bool {
        let Some(first) = self.outcomes.find(command.request) else { return false };
        let about_order = matches!(
            first.kind,
            command::NEW_ORDER | command::REPLACE_ORDER | command::CANCEL_ORDER
        );
        let order = if first.reason == Reason::Ok as u16 && about_order {
            self.orders.find(first.number)
        } else {
            None
        };
        let result = CommandResult {
            account: command.account,
            request: command.request,
            reason: first.reason,
            repeat: true,
            kind: command.kind,
            number: first.number,
            a: first.a,
            b: first.b,
            order,
        };
        self.out.result(&self.orders, &result);
        true
    }

    fn memory_is_full(&self) -> bool {
        self.keys.len() as u64 >= self.keys_max || self.outcomes.len() as u64 >= self.keys_max
    }

    fn dispatch(&mut self, order: &Command, body: &[u8], texts: &[u8]) -> Result<Done, Refusal> {
        let account = order.account;
        match order.kind {
            command::NEW_ORDER => self.new_order(account, body, texts),
            command::REPLACE_ORDER => self.replace_order(account, body, texts),
            command::CANCEL_ORDER => self.cancel_order(account, body),
            command::CANCEL_ALL => self.cancel_all(account),
            command::TRANSFER => self.transfer(account, body),
            command::CREATE_ACCOUNT => self.create_account(texts),
            command::SET_ACCOUNT => self.set_account(account, body),
            command::SET_CREDENTIAL => self.set_credential(account, body, texts),
            command::SET_INSTRUMENT => self.set_instrument(body, texts),
            command::SET_SESSION => self.set_session(body),
            command::SET_FEES => self.set_fees(body),
            command::END_DAY => Ok(self.end_day()),
            command::EXPIRE_KEYS => Ok(self.expire_keys(body)),
            command::SET_RULES => Engine::set_rules(body),
            command::SET_LIMITS => self.set_limits(body),
            _ => Err(Reason::BadCommand.into()),
        }
    }

    /// An account that may trade or be changed: not the fee account.
    pub(crate) fn known_account(&self, account: u32) -> Result<&Account, Refusal> {
        match account {
            0 => Err(Reason::UnknownAccount.into()),
            _ => self.accounts.get(account as usize).ok_or(Reason::UnknownAccount.into()),
        }
    }

    pub(crate) fn instrument(&self, number: u32) -> &Instrument {
        &self.instruments[number as usize - 1]
    }

    pub(crate) fn instrument_mut(&mut self, number: u32) -> &mut Instrument {
        &mut self.instruments[number as usize - 1]
    }

    /// Whether there is an instrument of this number.
    pub(crate) fn knows_instrument(&self, number: u32) -> bool {
        number != 0 && number as usize <= self.instruments.len()
    }

    /// The stricter state of market and instrument is open.
    pub(crate) fn is_open(&self, instrument: u32) -> bool {
        self.market_session.max(self.instrument(instrument).session) == 0
    }

    pub(crate) fn now(&self) -> i64 {
        self.out.now_ns
    }
}
