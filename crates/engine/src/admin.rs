//! Instruments, accounts, transfers, credentials, sessions, the end of a day, limits.

use crate::account::{Account, Credential};
use crate::bytes::{i64_at, u16_at, u32_at, u64_at};
use crate::codes::{
    account_state, close_reason, credential, event, order_event, session, status, Reason, CASH_MAX,
    FEE_PPM_MAX, KEY_SESSIONS_KEPT, PRICE_MAX, QUANTITY_MAX, RULES_VERSION,
};
use crate::engine::{Done, Engine};
use crate::history::UsedKey;
use crate::instrument::Instrument;
use crate::money::{value_down, value_of};
use crate::output::{append_account, append_credential, append_instrument, Fill, Refusal};

const ACCOUNT_NAME_BYTES: usize = 64;
const CREDENTIAL_NAME_BYTES: usize = 128;
const CREDENTIAL_VALUE_BYTES: usize = 512;
const COLLAR_BPS_MAX: u32 = 10_000;
const LIMIT_KEYS_MAX: u64 = 10_000_000;
const LIMIT_OPEN_ORDERS_MAX: u64 = 1_000_000;

fn require(holds: bool, reason: Reason) -> Result<(), Refusal> {
    if holds {
        Ok(())
    } else {
        Err(reason.into())
    }
}

impl Engine {
    pub(crate) fn set_instrument(&mut self, body: &[u8], texts: &[u8]) -> Result<Done, Refusal> {
        let (tick, lot, reference) = (i64_at(body, 0), i64_at(body, 8), i64_at(body, 16));
        let collar_bps = u32_at(body, 24);
        let (symbol, rest) = texts.split_at(body[28] as usize);
        let (exchange, name) = rest.split_at(body[29] as usize);
        let fits = (1..=PRICE_MAX).contains(&tick)
            && (1..=QUANTITY_MAX).contains(&lot)
            && (0..=PRICE_MAX).contains(&reference)
            && (1..=COLLAR_BPS_MAX).contains(&collar_bps)
            && (1..=16).contains(&symbol.len())
            && (1..=8).contains(&exchange.len())
            && name.len() <= 64;
        require(fits, Reason::BadFields)?;
        let number = self.symbols.get(symbol).copied().unwrap_or_else(|| {
            let number = self.instruments.len() as u32 + 1;
            self.instruments.push(Instrument::new(number, symbol));
            self.symbols.insert(symbol.to_vec(), number);
            number
        });
        let instrument = self.instrument_mut(number);
        instrument.tick = tick;
        instrument.lot = lot;
        instrument.reference_price = reference;
        instrument.collar_bps = collar_bps;
        instrument.exchange = exchange.to_vec();
        instrument.name = name.to_vec();
        let instrument = &self.instruments[number as usize - 1];
        self.out.event(event::INSTRUMENT, 0, |bytes| append_instrument(bytes, instrument));
        Ok(Done::about(number))
    }

    pub(crate) fn create_account(&mut self, name: &[u8]) -> Result<Done, Refusal> {
        require((1..=ACCOUNT_NAME_BYTES).contains(&name.len()), Reason::BadFields)?;
        require(!self.account_names.contains_key(name), Reason::DuplicateName)?;
        let number = self.accounts.len() as u32;
        self.accounts.push(Account::new(number, name, self.now()));
        self.account_names.insert(name.to_vec(), number);
        self.report_account(number);
        Ok(Done::about(number))
    }

    fn report_account(&mut self, number: u32) {
        let account = &self.accounts[number as usize];
        self.out.event(event::ACCOUNT, number, |bytes| append_account(bytes, account));
    }

    pub(crate) fn set_account(&mut self, account: u32, body: &[u8]) -> Result<Done, Refusal> {
        self.known_account(account)?;
        let state = body[0];
        require(state <= account_state::DISABLED, Reason::BadFields)?;
        if state == account_state::DISABLED {
            self.cancel_orders_of(account, close_reason::ACCOUNT_DISABLED);
        }
        self.accounts[account as usize].state = state;
        self.report_account(account);
        Ok(Done::about(account))
    }

    pub(crate) fn transfer(&mut self, account: u32, body: &[u8]) -> Result<Done, Refusal> {
        let (instrument, amount) = (u32_at(body, 0), i64_at(body, 8));
        let is_fee_withdrawal = account == 0 && instrument == 0 && amount < 0;
        if !is_fee_withdrawal {
            self.known_account(account)?;
        }
        require(instrument == 0 || self.knows_instrument(instrument), Reason::UnknownInstrument)?;
        let bound = if instrument == 0 { CASH_MAX } else { QUANTITY_MAX };
        let in_bounds = amount != 0 && amount.unsigned_abs() <= bound as u64;
        require(in_bounds, Reason::BadQuantity)?;
        let balance = if instrument == 0 {
            self.transfer_cash(account, amount)?
        } else {
            self.transfer_shares(account, instrument, amount)?
        };
        self.out.event(event::TRANSFER, account, |bytes| {
            bytes.extend_from_slice(&instrument.to_le_bytes());
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&amount.to_le_bytes());
            bytes.extend_from_slice(&balance.to_le_bytes());
        });
        Ok(Done::about(account))
    }

    fn transfer_cash(&mut self, account: u32, amount: i64) -> Result<i64, Refusal> {
        let total = self.cash_total + i128::from(amount);
        let account = &mut self.accounts[account as usize];
        if amount < 0 && account.available() < -amount {
            return Err(Reason::InsufficientCash.with(account.available(), -amount));
        }
        require(amount < 0 || total <= i128::from(CASH_MAX), Reason::BalanceOutOfRange)?;
        account.cash += amount;
        self.cash_total = total;
        Ok(account.cash)
    }

    fn transfer_shares(
        &mut self,
        account: u32,
        instrument: u32,
        amount: i64,
    ) -> Result<i64, Refusal> {
        let traded = &mut self.instruments[instrument as usize - 1];
        let total = i128::from(traded.shares_total) + i128::from(amount);
        let account = &mut self.accounts[account as usize];
        if amount < 0 {
            let held = account.position(instrument).map_or(0, |position| position.held);
            let existing = account.shares(instrument);
            if existing - held < -amount {
                return Err(Reason::InsufficientShares.with(existing, held));
            }
            account.take_shares(instrument, -amount);
        } else {
            require(total <= i128::from(QUANTITY_MAX), Reason::BalanceOutOfRange)?;
            let cost = value_down(value_of(traded.price(), amount));
            account.add_shares(instrument, amount, cost);
        }
        traded.shares_total = total as i64;
        Ok(account.shares(instrument))
    }

    pub(crate) fn set_credential(
        &mut self,
        account: u32,
        body: &[u8],
        texts: &[u8],
    ) -> Result<Done, Refusal> {
        let kind = body[0];
        let (name, value) = texts.split_at(body[1] as usize);
        let fits = (credential::API_KEY..=credential::ROLE).contains(&kind)
            && (1..=CREDENTIAL_NAME_BYTES).contains(&name.len())
            && u16_at(body, 2) as usize <= CREDENTIAL_VALUE_BYTES;
        require(fits, Reason::BadFields)?;
        self.known_account(account)?;
        let known = self.credentials.find(kind, account, name);
        require(known.is_none_or(|known| known.account == account), Reason::DuplicateName)?;
        let known = known.map(|known| known.number);
        require(known.is_some() || !value.is_empty(), Reason::BadFields)?;
        let number = known.unwrap_or_else(|| {
            self.next_credential += 1;
            (self.next_credential - 1) as u32
        });
        let set = Credential { number, account, kind, name: name.into(), value: value.into() };
        self.out.event(event::CREDENTIAL, account, |bytes| append_credential(bytes, &set));
        if value.is_empty() {
            self.credentials.remove(number);
        } else {
            self.credentials.set(set);
        }
        Ok(Done::about(number))
    }

    pub(crate) fn set_session(&mut self, body: &[u8]) -> Result<Done, Refusal> {
        let (instrument, state) = (u32_at(body, 0), body[4]);
        require(state <= session::CLOSED, Reason::BadFields)?;
        require(instrument == 0 || self.knows_instrument(instrument), Reason::UnknownInstrument)?;
        if instrument == 0 {
            self.market_session = state;
        } else {
            self.instrument_mut(instrument).session = state;
        }
        self.out.event(event::SESSION, 0, |bytes| {
            bytes.extend_from_slice(&instrument.to_le_bytes());
            bytes.extend_from_slice(&[state, 0, 0, 0]);
        });
        for number in 1..=self.instruments.len() as u32 {
            if (instrument == 0 || instrument == number) && self.is_open(number) {
                self.release_queue(number);
            }
        }
        Ok(Done::about(instrument))
    }

    /// Orders that waited for the opening enter, first come first.
    fn release_queue(&mut self, instrument: u32) {
        while self.instrument(instrument).queue.count > 0 {
            let slot = self.instrument(instrument).queue.head;
            self.take_out(slot);
            let order = &mut self.orders[slot];
            order.status = if order.filled > 0 { status::PARTIALLY_FILLED } else { status::NEW };
            self.report(slot, order_event::NEW, Fill::default());
            self.enter(slot);
        }
    }

    pub(crate) fn set_fees(&mut self, body: &[u8]) -> Result<Done, Refusal> {
        let (maker, taker) = (u32_at(body, 0), u32_at(body, 4));
        require(maker <= FEE_PPM_MAX && taker <= FEE_PPM_MAX, Reason::BadFields)?;
        self.maker_ppm = maker;
        self.taker_ppm = taker;
        self.out.event(event::FEES, 0, |bytes| bytes.extend_from_slice(body));
        Ok(Done::default())
    }

    pub(crate) fn end_day(&mut self) -> Done {
        self.expire_day_orders();
        self.session_number += 1;
        let number = self.session_number;
        self.out.event(event::DAY, 0, |bytes| {
            bytes.extend_from_slice(&u64::from(number).to_le_bytes());
        });
        let newest_old = number.saturating_sub(KEY_SESSIONS_KEPT);
        self.keys.turn_over(
            |key| key.session <= newest_old,
            |key| self.orders.is_live(key.order_id),
            |key| UsedKey { session: number, ..key },
        );
        self.outcomes.turn_over(
            |outcome| outcome.session <= newest_old,
            |_| false,
            |outcome| outcome,
        );
        Done::default()
    }

    pub(crate) fn expire_keys(&mut self, body: &[u8]) -> Done {
        let keep = usize::try_from(u64_at(body, 0)).unwrap_or(usize::MAX);
        self.keys.shrink(keep, |key| self.orders.is_live(key.order_id));
        self.outcomes.shrink(keep, |_| false);
        Done { a: self.keys.len() as i64, b: self.outcomes.len() as i64, ..Done::default() }
    }

    pub(crate) fn set_rules(body: &[u8]) -> Result<Done, Refusal> {
        require(u32_at(body, 0) == RULES_VERSION, Reason::UnknownRules)?;
        Ok(Done::default())
    }

    pub(crate) fn set_limits(&mut self, body: &[u8]) -> Result<Done, Refusal> {
        let (keys_max, open_orders_max) = (u64_at(body, 0), u64_at(body, 8));
        let fits = (1..=LIMIT_KEYS_MAX).contains(&keys_max)
            && (1..=LIMIT_OPEN_ORDERS_MAX).contains(&open_orders_max);
        require(fits, Reason::BadFields)?;
        self.keys_max = keys_max;
        self.open_orders_max = open_orders_max;
        Ok(Done::default())
    }
}
