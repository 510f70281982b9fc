//! The creditor over a real store and ledger, without a network.
#![allow(clippy::unwrap_used)]

use super::*;
use commonhold_format::ids::NodeId;
use commonhold_format::inventory::Inventory;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{
    AMOUNT_MAX, Contract, Payment, Receipt, Revision, Statement, Trust, ledger_origin,
};
use commonhold_store::{Role, StoreConfig};

const WEEK: u64 = 7 * 86_400;
const GIFT: u64 = 1_000;
const HOLD: u64 = 500;

/// A provider's rooms, without a network.
pub(crate) struct Place {
    temp: tempfile::TempDir,
    pub(crate) vault: Arc<Vault>,
    pub(crate) ledger: Ledger,
}

pub(crate) fn me() -> PartyKey {
    PartyKey::from_seed(&[99; 32])
}

pub(crate) fn owner(seed: u8) -> PartyKey {
    PartyKey::from_seed(&[seed; 32])
}

impl Place {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let origin = ledger_origin(&me().id(), &NodeId([9; 32]));
        let ledger = Ledger::open(&temp.path().join("ledger"), me(), origin).unwrap();
        let config = StoreConfig::new(temp.path().join("store"), 64 << 20);
        let outside = crate::vault::Outside { id: temp.path().join("id"), lost: temp.path().join("lost") };
        let vault = Arc::new(Vault::new(config, outside, ledger.clone()));
        vault.open().unwrap();
        Self { temp, vault, ledger }
    }

    pub(crate) fn creditor(&self, arrears_seconds: u64) -> Creditor {
        self.creditor_with(arrears_seconds, 0, Arc::new(commonhold_engine::policy::BuiltIn))
    }

    /// With a policy that may answer for so much.
    fn creditor_with(
        &self,
        arrears_seconds: u64,
        policy_trust_max: u64,
        policy: Arc<dyn Policy>,
    ) -> Creditor {
        let trusted = BTreeMap::default();
        let rules = CreditRules { gift_microcredits: GIFT, epoch_seconds: WEEK, trusted, policy_trust_max };
        let file = self.temp.path().join("stopped-since");
        let (vault, ledger) = (self.vault.clone(), self.ledger.clone());
        Creditor::new(rules, policy, arrears_seconds, vault, ledger, me().id(), Arc::default(), file)
    }

    /// A contract that has been open for 30 days.
    pub(crate) fn open(&self, seed: u8, change: impl FnOnce(&mut Contract)) -> Contract {
        let mut contract = Contract {
            owner: owner(seed).id(),
            provider: me().id(),
            node: NodeId([9; 32]),
            salt: [seed; 16],
            prices: Prices { audit_microcredits: 1, ..Prices::default() },
            bytes_max: 1 << 30,
            starts: unix_seconds() - 30 * 86_400,
            ends: unix_seconds() + 30 * 86_400,
            audit_interval_seconds: 86_400,
            grace_seconds: 3600,
            hold_microcredits: 0,
        };
        change(&mut contract);
        let note = both(seed, Statement::Contract(contract.clone()));
        self.vault.store().unwrap().open_contract(Role::Provider, &contract, &note).unwrap();
        self.ledger.append(&note).unwrap();
        contract
    }

    /// A receipt for so many audits in all, of which each costs a microcredit.
    pub(crate) fn audited(&self, seed: u8, contract: &Contract, sequence: u64, until: u64, audits: u64) {
        let receipt = Receipt {
            contract: contract.id(),
            sequence,
            until,
            byte_seconds: 0,
            egress_bytes: 0,
            audits_passed: audits,
            audits_failed: 0,
            owed_microcredits: contract.prices.amount_due(0, 0, audits).unwrap(),
            evidence: [0; 32],
            owner_node: NodeId([seed; 32]),
            owner_head: (0, [0; 32]),
            provider_head: (0, [0; 32]),
        };
        let note = both(seed, Statement::Receipt(receipt.clone()));
        self.vault.store().unwrap().receipt(&contract.id(), &receipt, &note).unwrap();
        self.ledger.append(&note).unwrap();
    }

    fn state(&self, contract: &Contract) -> ContractState {
        self.vault.store().unwrap().contract(&contract.id()).unwrap()
    }

    /// A revision that holds nothing.
    fn revise(&self, seed: u8, contract: &Contract, sequence: u64, time: u64) {
        let empty = Inventory::new();
        let revision = Revision {
            contract: contract.id(),
            sequence,
            inventory_root: empty.root(),
            entries: 0,
            span: 0,
            held_bytes: 0,
            held_chunks: 0,
            time,
        };
        let note = both(seed, Statement::Revision(revision.clone()));
        self.vault.store().unwrap().commit(&contract.id(), &revision, &note, &[], &[]).unwrap();
        self.ledger.append(&note).unwrap();
    }
}

pub(crate) fn both(seed: u8, statement: Statement) -> SignedNote {
    let mut note = SignedNote::sign(statement.to_text(), &owner(seed)).unwrap();
    assert!(note.countersign(&me()));
    note
}

fn headroom(creditor: &Creditor, seed: u8) -> u64 {
    creditor.changed();
    let parties = creditor.parties().unwrap();
    parties.iter().find(|it| it.party == owner(seed).id()).map_or(0, |it| it.headroom)
}

/// When the epoch before this one ended.
fn last_epoch() -> u64 {
    let now = unix_seconds();
    now - now % WEEK - 1
}

#[test]
fn what_may_be_held_back_is_cover_once_and_not_anew_in_each_epoch() {
    let place = Place::new();
    let creditor = place.creditor(1);
    let contract = place.open(1, |it| it.hold_microcredits = HOLD);
    assert_eq!(headroom(&creditor, 1), HOLD + GIFT);
    // All that may be held back was used in an epoch before.
    place.audited(1, &contract, 1, last_epoch() - 1, HOLD);
    assert_eq!(headroom(&creditor, 1), GIFT);
    // Nor does it grow with the number of contracts.
    place.open(1, |it| (it.salt, it.hold_microcredits) = ([7; 16], HOLD));
    assert_eq!(headroom(&creditor, 1), GIFT);
}

#[test]
fn attack_33_audits_that_an_owner_says_it_made_take_nothing_from_others() {
    let place = Place::new();
    let creditor = place.creditor(1);
    let (liar, honest) = (place.open(1, |_| {}), place.open(2, |_| {}));
    place.audited(2, &honest, 1, last_epoch() - 1, 3);
    assert_eq!(headroom(&creditor, 2), GIFT);
    let until = unix_seconds();
    place.audited(1, &liar, 1, until, 1 << 50);
    assert_eq!(headroom(&creditor, 2), GIFT);
    assert_eq!(creditor.gifts().unwrap().0, 0);
    assert!(creditor.stop_of(&honest.id()).is_none());
    // It is owed all the same.
    let owed = creditor.parties().unwrap().into_iter().find(|it| it.party == owner(1).id()).unwrap();
    assert_eq!(owed.account, 1 << 50);
    // Nor does a debt that is as large as there are amounts make what comes next endless.
    let most = AMOUNT_MAX;
    place.audited(1, &liar, 2, until, most);
    place.revise(1, &liar, 1, until);
    creditor.egress.lock().unwrap().insert(liar.id(), 1 << 40);
    assert_eq!(headroom(&creditor, 2), GIFT - 1);
}

#[test]
fn what_is_being_added_also_takes_room_from_reads() {
    let place = Place::new();
    let creditor = place.creditor(1);
    let contract = place.open(1, |it| it.prices.storage_microcredits_per_gib_month = 4_000);
    let state = place.state(&contract);
    // 7 of 30 days for a GiB: 933 of the 1000.
    let _adding = creditor.may_hold(&state, 1 << 30).unwrap();
    // A read for some 200.
    assert!(creditor.may_read(&state, 2 << 20).is_err());
    assert!(creditor.may_read(&state, 1 << 18).is_ok());
}

#[test]
fn attack_37_since_when_something_is_unsigned_is_looked_up_once() {
    let place = Place::new();
    let creditor = place.creditor(1);
    let contract = place.open(1, |_| {});
    let now = unix_seconds();
    let mut held = State::default();
    for sequence in 1..=5 {
        place.revise(1, &contract, sequence, now - 1000 + sequence);
        let since = creditor.signed_until(&mut held, &place.state(&contract), now).unwrap();
        assert_eq!(since, Some(contract.starts));
        // Later revisions that hold nothing do not have all of them read again.
        assert_eq!(held.unsigned[&contract.id()].revision, 1);
    }
}

/// Somebody has paid the provider so much in all.
pub(crate) fn paid(place: &Place, seed: u8, paid_microcredits: u64) {
    let (payer, payee, time) = (owner(seed).id(), me().id(), unix_seconds() - 29 * 86_400);
    let payment = Payment { payer, payee, sequence: 1, paid_microcredits, reference: [0; 32], time };
    place.ledger.append(&both(seed, Statement::Payment(payment))).unwrap();
}

/// Party 2 answers for party 3.
pub(crate) fn line(limit_microcredits: u64, sequence: u64, ends: u64) -> Trust {
    let (guarantor, creditor, debtor) = (owner(2).id(), me().id(), owner(3).id());
    Trust { guarantor, creditor, debtor, sequence, limit_microcredits, ends }
}

#[test]
fn attack_33_a_trust_line_that_ends_stands_for_what_it_carried() {
    const DAY: u64 = 86_400;
    let place = Place::new();
    paid(&place, 2, 50_000);
    let contract = place.open(3, |_| {});
    let now = unix_seconds();
    // One epoch after its end, 30,000 were owed; then more.
    place.audited(3, &contract, 1, now - 25 * DAY, 30_000);
    place.audited(3, &contract, 2, now - 10 * DAY, 35_000);
    place.ledger.append(&both(2, Statement::Trust(line(40_000, 1, now - 27 * DAY)))).unwrap();
    let credits = place.creditor(WEEK).parties().unwrap();
    let of = |seed| credits.iter().find(|it| it.party == owner(seed).id()).unwrap().credit;
    assert_eq!((of(3).guaranteed, of(3).uncovered, of(2).lent), (30_000, 5_000, 30_000));
    // While it lasts it stands for all, and cannot be lowered below that.
    let place = Place::new();
    paid(&place, 2, 50_000);
    let contract = place.open(3, |_| {});
    place.audited(3, &contract, 1, now - 10 * DAY, 35_000);
    place.ledger.append(&both(2, Statement::Trust(line(40_000, 1, now + DAY)))).unwrap();
    assert_eq!(place.creditor(WEEK).carried(&owner(3).id()), Ok(35_000));
    // Ended a moment ago: what is owed is covered, and nothing is added.
    place.ledger.append(&both(2, Statement::Trust(line(40_000, 2, now - 1)))).unwrap();
    let credits = place.creditor(WEEK).parties().unwrap();
    let of = |seed| credits.iter().find(|it| it.party == owner(seed).id()).unwrap();
    assert_eq!((of(3).credit.guaranteed, of(3).credit.uncovered, of(3).headroom), (35_000, 0, GIFT));
}

/// What a policy says of each party, and what it was asked.
#[derive(Default)]
struct Adviser {
    says: Mutex<HashMap<PartyId, policy::Credit>>,
    asked: Mutex<Vec<policy::CreditLimit>>,
}

impl Adviser {
    fn say(&self, seed: u8, trust: u64, gift: u64) {
        self.says.lock().unwrap().insert(owner(seed).id(), policy::Credit { trust, gift });
    }

    fn times(&self, seed: u8) -> usize {
        let party = policy::Key::from(owner(seed).id());
        self.asked.lock().unwrap().iter().filter(|it| it.peer.party == party).count()
    }
}

impl Policy for Adviser {
    fn answer(&self, question: &policy::Question) -> policy::Answer {
        let policy::Question::CreditLimit(ask) = question else { panic!("{question:?}") };
        self.asked.lock().unwrap().push(ask.clone());
        let said = self.says.lock().unwrap().get(&PartyId(ask.peer.party.0)).copied();
        policy::Answer::Credit(said.unwrap_or(policy::Credit::DEFAULT))
    }
}

/// As if advice had been given a minute ago.
fn forget(creditor: &Creditor) {
    creditor.ask_anew();
    creditor.state().counted = None;
}

#[test]
fn a_policy_gives_credit_as_far_as_the_operator_allows() {
    let place = Place::new();
    let contract = place.open(1, |_| {});
    place.audited(1, &contract, 1, last_epoch() - 1, 30);
    let adviser = Arc::new(Adviser::default());
    adviser.say(1, 5_000, AMOUNT_MAX);
    adviser.say(2, 0, 100);
    let allowed = |most| {
        let creditor = place.creditor_with(1, most, adviser.clone());
        creditor.may_open(&owner(2).id(), 0).unwrap();
        let of_2 =
            creditor.state().counted.as_ref().unwrap().debts[Ahead::Rest as usize].headroom(&owner(2).id());
        (headroom(&creditor, 1), of_2)
    };
    assert_eq!(allowed(0), (GIFT, 100));
    // What was owed when the epoch began is covered first.
    assert_eq!(allowed(300), (GIFT + 270, 100));
    // Nobody gets a gift whom the policy gives none.
    adviser.say(2, 0, 0);
    let creditor = place.creditor_with(1, 0, adviser.clone());
    assert!(creditor.may_open(&owner(2).id(), 0).is_err());
    assert!(creditor.may_open(&owner(3).id(), 0).is_ok());
    let asked = adviser.asked.lock().unwrap();
    let peer = policy::Peer { party: owner(1).id().into(), account: 30, given: 0, taken: 30 };
    let of_1 = asked.iter().find(|it| it.peer.party == peer.party).unwrap();
    assert_eq!((of_1.peer, of_1.unsigned, of_1.gift_budget, of_1.trusted), (peer, 0, GIFT, 0));
}

#[test]
fn a_policy_is_asked_about_a_party_once_a_minute_and_not_for_each_chunk() {
    let place = Place::new();
    let contract = place.open(1, |it| it.prices.egress_microcredits_per_gib = 1);
    let state = place.state(&contract);
    let adviser = Arc::new(Adviser::default());
    let creditor = place.creditor_with(1, 0, adviser.clone());
    for _ in 0..50 {
        creditor.may_read(&state, 1 << 10).unwrap();
        creditor.may_open(&owner(2).id(), 0).unwrap();
        creditor.could_hold(&state, 0).unwrap();
        creditor.state().counted = None;
    }
    assert_eq!((adviser.times(1), adviser.times(2)), (1, 1));
    // Once it is old: those with contracts when debts are counted, others when they ask.
    forget(&creditor);
    creditor.parties().unwrap();
    assert_eq!((adviser.times(1), adviser.times(2)), (2, 1));
    creditor.may_open(&owner(2).id(), 0).unwrap();
    assert_eq!((adviser.times(1), adviser.times(2)), (2, 2));
    // What it says then counts at once.
    forget(&creditor);
    adviser.say(1, 0, 0);
    assert!(creditor.may_read(&state, 1 << 10).is_err());
}

#[test]
fn a_slow_policy_is_asked_about_few_parties_at_a_time_and_about_all_in_turn() {
    let place = Place::new();
    for seed in 1..=80 {
        place.open(seed, |_| {});
    }
    let adviser = Arc::new(Adviser::default());
    let creditor = place.creditor_with(1, 0, adviser.clone());
    let asked = || {
        creditor.state().counted = None;
        creditor.parties().unwrap();
        adviser.asked.lock().unwrap().len()
    };
    assert_eq!([asked(), asked(), asked(), asked()], [32, 64, 80, 80]);
    assert!((1..=80).all(|seed| adviser.times(seed) == 1));
}
