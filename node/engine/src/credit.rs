//! How far a provider lets others go into debt (spec/credit.md).
//!
//! Invariant: a party's headroom is what somebody stands for, as far as that is not used up, and what
//! is left of one gift budget that all share; whoever stays within it makes the uncovered debts of all
//! grow by at most the budget in an epoch. Trust lines are worth what their guarantors are worth here,
//! and are not chained. A pricing policy moves no more than the operator allows it. Not here: what a party owes (that follows from notes) and who has signed them.

use std::collections::{BTreeMap, BTreeSet};

use commonhold_format::ids::PartyId;
use commonhold_format::statement::{AMOUNT_MAX, Contract, Prices};

/// What a provider's operator is willing to give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreditRules {
    /// Most by which uncovered debts of all parties together may grow in an epoch, microcredits.
    pub gift_microcredits: u64,
    /// Length of an epoch, and the longest time without a receipt, seconds; at least 1.
    pub epoch_seconds: u64,
    /// What the operator itself answers for, microcredits by party.
    pub trusted: BTreeMap<PartyId, u64>,
    /// Most for which a pricing policy may answer, all parties together, microcredits.
    pub policy_trust_max: u64,
}

impl CreditRules {
    /// When the epoch that `now` lies in began, Unix seconds.
    pub fn epoch_start(&self, now: u64) -> u64 {
        now - now % self.epoch_seconds.max(1)
    }

    /// Seconds from `now` to the end of the epoch that it lies in, at least 1.
    pub fn epoch_rest(&self, now: u64) -> u64 {
        let epoch = self.epoch_seconds.max(1);
        epoch - now % epoch
    }

    fn trusts(&self, party: &PartyId) -> i128 {
        self.trusted.get(party).copied().unwrap_or(0).into()
    }
}

/// What is known of one party's debt, microcredits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Debt {
    /// By receipts and payments that both signed; negative when the party is owed.
    pub account: i128,
    /// Owed by this provider's count and not in a receipt yet.
    pub unsigned: u64,
    /// What keeping its data for some time from now will come to.
    pub ahead: u64,
    /// What it may hold back under contracts that have not ended.
    pub hold: u64,
    /// Part of the account: the price of the audits for which it signed in this epoch.
    pub audits: i128,
}

impl Debt {
    /// What it may come to owe in all, but for the audits of this epoch: their number is what it says
    /// against itself, so it must not use up what others share.
    pub fn exposure(&self) -> i128 {
        let account = self.account.saturating_sub(self.audits);
        account.saturating_add(self.unsigned.into()).saturating_add(self.ahead.into())
    }
}

/// A trust line that counts at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Who answers for the debt.
    pub guarantor: PartyId,
    /// Whose debt it is.
    pub debtor: PartyId,
    /// Up to how much, microcredits.
    pub limit: u64,
}

/// What a pricing policy says of one party's credit. A party without advice gets no trust of the policy
/// and has no bound of its own on gifts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// What the policy answers for, microcredits; counted as far as
    /// [`policy_trust_max`](CreditRules::policy_trust_max) reaches.
    pub trust: u64,
    /// Most of an epoch's gift budget that the party may use, microcredits.
    pub gift_max: u64,
}

/// How one party stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Credit {
    /// What it may come to owe.
    pub exposure: i128,
    /// What it may owe on its own: the operator's line and what it may hold back.
    pub own: i128,
    /// What others' lines carry of its debt.
    pub guaranteed: i128,
    /// What the pricing policy answers for of its debt.
    pub policy: i128,
    /// What its own lines carry of others' debts.
    pub lent: i128,
    /// What nobody stands for.
    pub uncovered: i128,
    /// Its part of this epoch's gifts.
    pub gift: i128,
    /// Is its part more than it may be, or is there nothing left of the gift budget for it, when all whose
    /// part is smaller have theirs?
    pub over: bool,
}

/// All debts to one provider, and what stands for them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Debts {
    /// What the operator gives.
    pub rules: CreditRules,
    /// What each party owes.
    pub debts: BTreeMap<PartyId, Debt>,
    /// The trust lines that count; of two for the same guarantor and debtor the lower limit.
    pub lines: Vec<Line>,
    /// What nobody stood for when the epoch began; a party that is not here owed nothing. Weighed with the
    /// same [`advice`](Self::advice): trust that is given to one party after the other is not given anew
    /// each time.
    pub before: BTreeMap<PartyId, i128>,
    /// What the pricing policy says.
    pub advice: BTreeMap<PartyId, Advice>,
}

impl Debts {
    /// How every party stands. Costs O(n log n).
    pub fn weigh(&self) -> BTreeMap<PartyId, Credit> {
        let mut lines = self.lines.clone();
        lines.sort_unstable_by_key(|line| (line.guarantor, line.debtor, line.limit));
        lines.dedup_by_key(|line| (line.guarantor, line.debtor));
        let mut parties: BTreeMap<PartyId, Credit> = BTreeMap::new();
        // What a guarantor could still owe itself, and so stands for.
        let mut backing: BTreeMap<PartyId, i128> = BTreeMap::new();
        let named = lines.iter().flat_map(|line| [line.guarantor, line.debtor]);
        for party in self.debts.keys().copied().chain(self.rules.trusted.keys().copied()).chain(named) {
            let debt = self.debts.get(&party).copied().unwrap_or_default();
            let (exposure, hold, trusted) =
                (debt.exposure(), i128::from(debt.hold), self.rules.trusts(&party));
            let own = trusted + hold;
            let uncovered = (exposure - own).max(0);
            backing.insert(party, (trusted - (exposure - exposure.clamp(0, hold))).max(0));
            parties.insert(party, Credit { exposure, own, uncovered, ..Credit::default() });
        }
        for line in &lines {
            let debtor = parties.entry(line.debtor).or_default();
            let backed = backing.entry(line.guarantor).or_default();
            let used = i128::from(line.limit).min(*backed).min(debtor.uncovered);
            *backed -= used;
            debtor.guaranteed += used;
            debtor.uncovered -= used;
            parties.entry(line.guarantor).or_default().lent += used;
        }
        // The policy answers last, for what nobody else does, in the order of parties.
        let mut left = self.rules.policy_trust_max;
        for (party, credit) in &mut parties {
            let trust = self.advice.get(party).map_or(0, |it| it.trust);
            let used = u64::try_from(credit.uncovered).unwrap_or(u64::MAX).min(trust).min(left);
            left -= used;
            credit.policy = used.into();
            credit.uncovered -= credit.policy;
        }
        for (party, credit) in &mut parties {
            credit.gift = (credit.uncovered - self.before.get(party).copied().unwrap_or(0)).max(0);
        }
        // Somebody whose cover runs out while its data is kept may go far beyond the budget. That is
        // its own affair: those who stay within what they were granted have theirs.
        let mut gifts: Vec<(&PartyId, &mut Credit)> =
            parties.iter_mut().filter(|(_, it)| it.gift > 0).collect();
        gifts.sort_by_key(|(_, it)| it.gift);
        let mut sum = 0;
        for (party, credit) in gifts {
            sum += credit.gift;
            credit.over = sum > self.rules.gift_microcredits.into() || credit.gift > self.gift_max(party);
        }
        parties
    }

    /// Most of the gift budget that a party may use.
    fn gift_max(&self, party: &PartyId) -> i128 {
        self.advice.get(party).map_or(i128::MAX, |it| it.gift_max.into())
    }

    /// What of the gift budget is used, microcredits; may be more than the budget, by the passing of
    /// time.
    pub fn spent(&self) -> i128 {
        self.weigh().values().map(|credit| credit.gift).sum()
    }

    /// Whether a party's exposure may rise by `more`.
    pub fn allows(&self, party: &PartyId, more: u64) -> bool {
        let mut after = self.clone();
        let debt = after.debts.entry(*party).or_default();
        debt.account = debt.account.saturating_add(more.into());
        let (now, after) = (self.weigh(), after.weigh());
        let sum = |parties: &BTreeMap<PartyId, Credit>, of: fn(&Credit) -> i128| {
            parties.values().map(of).sum::<i128>()
        };
        let spent = sum(&after, |it| it.gift);
        // Beyond the budget the policy's trust counts no more either: what it took from one party may be
        // what is beyond.
        let rises = |of: fn(&Credit) -> i128| sum(&after, of) > sum(&now, of);
        if spent > self.rules.gift_microcredits.into() && (rises(|it| it.gift) || rises(|it| it.policy)) {
            return false;
        }
        // Nor may anybody's part rise beyond its own bound.
        let gift = |party| now.get(party).map_or(0, |it| it.gift);
        after.iter().all(|(party, it)| it.gift <= self.gift_max(party).max(gift(party)))
    }

    /// How much a party's exposure may rise, at most [`AMOUNT_MAX`].
    pub fn headroom(&self, party: &PartyId) -> u64 {
        self.headroom_of(party, &self.weigh(), &self.named())
    }

    /// The headroom of every party that [`weigh`](Self::weigh) knows. Costs as much as that, and some
    /// hundred times as much for each party that a line names or a policy answers for.
    pub fn headrooms(&self) -> BTreeMap<PartyId, u64> {
        let (weighed, named) = (self.weigh(), self.named());
        weighed.keys().map(|party| (*party, self.headroom_of(party, &weighed, &named))).collect()
    }

    /// Parties whose debt may change what stands for others': those that a line names, or for which the
    /// policy answers.
    fn named(&self) -> BTreeSet<PartyId> {
        let policy = self.advice.iter().filter(|(_, it)| it.trust > 0 && self.rules.policy_trust_max > 0);
        let lines = self.lines.iter().flat_map(|line| [line.guarantor, line.debtor]);
        lines.chain(policy.map(|(party, _)| *party)).collect()
    }

    fn headroom_of(
        &self,
        party: &PartyId,
        weighed: &BTreeMap<PartyId, Credit>,
        named: &BTreeSet<PartyId>,
    ) -> u64 {
        if !named.contains(party) {
            // Nobody else's debt changes with this one's.
            let credit = weighed.get(party).copied().unwrap_or_default();
            let others = weighed.values().map(|it| it.gift).sum::<i128>() - credit.gift;
            let left = i128::from(self.rules.gift_microcredits) - others;
            let gift = credit.gift.max(left.min(self.gift_max(party)));
            let before = self.before.get(party).copied().unwrap_or(0);
            let more = credit.own + before + gift - credit.exposure;
            return u64::try_from(more.clamp(0, AMOUNT_MAX.into())).unwrap_or(AMOUNT_MAX);
        }
        if self.allows(party, AMOUNT_MAX) {
            return AMOUNT_MAX;
        }
        // The largest allowed is in low..high.
        let (mut low, mut high) = (0, AMOUNT_MAX);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.allows(party, middle) { low = middle } else { high = middle }
        }
        low
    }
}

/// The price of keeping `bytes` for `seconds`, rounded up; [`u64::MAX`] when it has no amount.
pub fn storage_price(prices: &Prices, bytes: u64, seconds: u64) -> u64 {
    let byte_seconds = u128::from(bytes) * u128::from(seconds);
    prices
        .amount_due(byte_seconds, 0, 0)
        .map_or(u64::MAX, |due| if byte_seconds == 0 { due } else { due + 1 })
}

/// What is known of one contract when it is asked whether its owner is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signing {
    /// End of the time that the last receipt covers or, before one, time of the first revision;
    /// `None` when there is no revision either.
    pub signed_until: Option<u64>,
    /// What is owed under the contract and not in a receipt.
    pub unsigned: u64,
}

/// Why an owner is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// It has not signed a receipt for longer than an epoch.
    #[error(
        "no receipt was signed since {since} (Unix seconds), longer than one epoch: sign one, by `audit now` for example"
    )]
    Unsigned {
        /// When the unsigned time began.
        since: u64,
    },
    /// It owes more than anybody stands for, and nothing of the gift budget is left for it.
    #[error("{owed} microcredits are owed, more than is covered here: pay, or have somebody answer for you")]
    OverLimit {
        /// What it owes.
        owed: i128,
    },
}

/// Whether a contract is stopped at `now`. `credit` is how its owner stands with
/// [`ahead`](Debt::ahead) left out.
pub fn stopped(rules: &CreditRules, signing: &Signing, credit: &Credit, now: u64) -> Option<Stop> {
    if let Some(since) = signing.signed_until
        && signing.unsigned > 0
        && credit.exposure > 0
        && now.saturating_sub(since) > rules.epoch_seconds
    {
        return Some(Stop::Unsigned { since });
    }
    credit.over.then_some(Stop::OverLimit { owed: credit.exposure })
}

/// What an owner may hold back under a contract at `now`.
pub fn hold_at(contract: &Contract, now: u64) -> u64 {
    if now < contract.ends { contract.hold_microcredits } else { 0 }
}
