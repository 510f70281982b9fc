//! Payments and trust lines: notes that one party signs first and another's node countersigns
//! (spec/credit.md, "Payments and trust lines").
//!
//! Invariant: a note is in the ledger before it leaves, half signed and whole, and no sequence is used
//! for two texts: one that was not answered is sent again before the next. Not here: what notes come
//! to (ledger), and what a line is worth (engine).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AMOUNT_MAX, Payment, Statement, Trust};
use commonhold_format::wire::{Refusal, Request, Response};
use commonhold_ledger::{Ledger, Subject};
use commonhold_net::Net;
use tokio::sync::Mutex as AsyncMutex;

use crate::clock::unix_seconds;
use crate::credit::Creditor;
use crate::hourly::Hourly;
use crate::vault::Vault;

/// How long another node may take to countersign.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Most trust lines of one guarantor.
const LINES_MAX: usize = 64;
/// Notes of one party that are countersigned in an hour.
const NOTES_PER_HOUR_MAX: usize = 64;
/// How far another's clock may be ahead, seconds.
const SKEW_SECONDS: u64 = 600;

/// See the module.
pub struct Purse {
    /// Where notes are logged.
    pub ledger: Ledger,
    /// Signs.
    pub party: Arc<PartyKey>,
    /// The way to other nodes.
    pub net: Net,
    /// Contracts, which say who a counterparty is.
    pub vault: Arc<Vault>,
    /// Whom the operator trusts.
    pub trusted: HashSet<PartyId>,
    /// What lines carry.
    pub creditor: Arc<Creditor>,
    /// One note at a time.
    pub turns: PurseTurns,
}

/// What keeps two texts from getting one sequence: one note at a time is signed first here, and one
/// at a time is signed second.
pub struct PurseTurns {
    offering: AsyncMutex<()>,
    /// Notes by party that signed first.
    countersigning: Mutex<Hourly<PartyId>>,
}

impl Default for PurseTurns {
    fn default() -> Self {
        let countersigning = Mutex::new(Hourly::new(NOTES_PER_HOUR_MAX));
        Self { offering: AsyncMutex::default(), countersigning }
    }
}

/// What a request to countersign came to.
#[derive(Debug)]
pub struct Countersigned {
    /// The note with both signatures.
    pub note: SignedNote,
    /// Was it signed just now? Else it was known.
    pub is_new: bool,
}

type Refused = (Refusal, String);

/// A note about money that both have signed by now.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The note.
    pub note: SignedNote,
    /// Whose node countersigned.
    pub node: NodeId,
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|_| "an internal task failed".to_owned())
}

fn invalid(why: impl Into<String>) -> Refused {
    (Refusal::Invalid, why.into())
}

impl Purse {
    fn me(&self) -> PartyId {
        self.party.id()
    }

    /// Says that `payer` has paid this party `microcredits` more, and has its node countersign it.
    /// `nodes` are tried in turn.
    ///
    /// # Errors
    /// A sentence.
    pub async fn acknowledge(
        &self,
        payer: PartyId,
        microcredits: u64,
        reference: [u8; 32],
        nodes: &[NodeId],
    ) -> Result<Signed, String> {
        let payee = self.me();
        if payer == payee {
            return Err("nobody pays itself".to_owned());
        }
        let subject = Subject::Payment { payer, payee };
        let _turn = self.turns.offering.lock().await;
        let last = self.ledger.last_payment(&payer, &payee).map_err(|error| error.to_string())?;
        let (sequence, paid) = last.as_ref().map_or((0, 0), |last| (last.sequence, last.paid_microcredits));
        self.finish(subject, sequence + 1, nodes).await?;
        let last = self.ledger.last_payment(&payer, &payee).map_err(|error| error.to_string())?;
        let (sequence, paid) =
            last.as_ref().map_or((sequence, paid), |last| (last.sequence, last.paid_microcredits));
        let paid = paid.checked_add(microcredits).filter(|paid| *paid <= AMOUNT_MAX);
        let payment = Payment {
            payer,
            payee,
            sequence: sequence + 1,
            paid_microcredits: paid.ok_or("that is more than can be written down")?,
            reference,
            time: unix_seconds().max(last.map_or(0, |last| last.time)),
        };
        self.offer(Statement::Payment(payment), nodes).await
    }

    /// Answers to `creditor` for what `debtor` owes it, up to `limit_microcredits`, until `ends`.
    ///
    /// # Errors
    /// A sentence.
    pub async fn trust(
        &self,
        creditor: PartyId,
        debtor: PartyId,
        limit_microcredits: u64,
        ends: u64,
        nodes: &[NodeId],
    ) -> Result<Signed, String> {
        let guarantor = self.me();
        if creditor == guarantor || debtor == guarantor || creditor == debtor {
            return Err("guarantor, creditor and debtor are three different parties".to_owned());
        }
        let subject = Subject::Trust { guarantor, creditor, debtor };
        let _turn = self.turns.offering.lock().await;
        let last =
            || self.ledger.last_trust(&guarantor, &creditor, &debtor).map_err(|error| error.to_string());
        let next = last()?.map_or(0, |last| last.sequence) + 1;
        self.finish(subject, next, nodes).await?;
        let sequence = last()?.map_or(0, |last| last.sequence) + 1;
        let limit_microcredits = limit_microcredits.min(AMOUNT_MAX);
        let trust = Trust { guarantor, creditor, debtor, sequence, limit_microcredits, ends };
        self.offer(Statement::Trust(trust), nodes).await
    }

    /// Sends a half-signed note with this sequence again, if there is one: the one before was not
    /// answered.
    async fn finish(&self, subject: Subject, sequence: u64, nodes: &[NodeId]) -> Result<(), String> {
        let pending = self.ledger.numbered(&subject, sequence).map_err(|error| error.to_string())?;
        match pending.filter(|note| note.is_signed_by(&self.me())) {
            Some(note) => self.send(note, nodes).await.map(drop).map_err(|why| {
                format!("an earlier note waits for its second signature and comes first: {why}")
            }),
            None => Ok(()),
        }
    }

    async fn offer(&self, statement: Statement, nodes: &[NodeId]) -> Result<Signed, String> {
        if nodes.is_empty() {
            return Err("no node of that party is known here: name one with --node".to_owned());
        }
        let note = SignedNote::sign(statement.to_text(), &self.party).map_err(|error| error.to_string())?;
        self.log(&note).await?;
        self.send(note, nodes).await
    }

    async fn log(&self, note: &SignedNote) -> Result<(), String> {
        let (ledger, note) = (self.ledger.clone(), note.clone());
        blocking(move || ledger.append(&note).map(drop).map_err(|error| error.to_string())).await?
    }

    async fn send(&self, note: SignedNote, nodes: &[NodeId]) -> Result<Signed, String> {
        let mut reason = "no node of that party is known here: name one with --node".to_owned();
        for node in nodes {
            let request = Request::Countersign { note: note.to_bytes() };
            match self.net.call(*node, request, TIMEOUT).await {
                Ok(Response::Note { note: answer }) => {
                    let signed = SignedNote::parse(&answer).map_err(|error| error.to_string())?;
                    if signed.text() != note.text() || !commonhold_ledger::binds(&signed, None) {
                        reason = format!("{node} answered with another note");
                        continue;
                    }
                    self.log(&signed).await?;
                    return Ok(Signed { note: signed, node: *node });
                }
                Ok(Response::Refused { message, .. }) => reason = format!("{node}: {message}"),
                Ok(_) => reason = format!("{node}: its answer does not fit the request"),
                Err(error) => reason = format!("{node}: {error}"),
            }
        }
        Err(format!("{reason}; what was signed here waits in the ledger and is sent again by the next try"))
    }

    /// Countersigns a payment that this party made or a trust line that was given to it. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// A refusal, and why.
    pub fn countersign(&self, note: &[u8]) -> Result<Countersigned, Refused> {
        let mut note = SignedNote::parse(note).map_err(|error| invalid(error.to_string()))?;
        let statement = Statement::of(&note).map_err(|error| invalid(error.to_string()))?;
        let (subject, sequence) =
            commonhold_ledger::numbered(&note).ok_or_else(|| invalid("no such note"))?;
        let (first, second) = match &statement {
            Statement::Payment(it) => (it.payee, it.payer),
            Statement::Trust(it) => (it.guarantor, it.creditor),
            _ => return Err(invalid("only payments and trust lines are countersigned so")),
        };
        if note.signatures().len() != 1 {
            return Err(invalid("it has signature lines of others"));
        }
        if second != self.me() || !note.is_signed_by(&first) {
            return Err((Refusal::Forbidden, "it is not this party's to sign, or not signed".to_owned()));
        }
        // Held until it is logged: of two texts for one sequence that come at the same time, the second
        // finds the first.
        let mut counts = self.turns.countersigning.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error: commonhold_ledger::LedgerError| (Refusal::Other, error.to_string());
        if let Some(known) = self.ledger.numbered(&subject, sequence).map_err(failed)? {
            return if known.text() == note.text() && commonhold_ledger::binds(&known, None) {
                Ok(Countersigned { note: known, is_new: false })
            } else {
                Err((Refusal::Conflict, "another text has that sequence".to_owned()))
            };
        }
        match &statement {
            Statement::Payment(payment) => self.check_payment(payment)?,
            Statement::Trust(trust) => self.check_trust(trust)?,
            _ => {}
        }
        if !counts.take(first, 1) {
            return Err((Refusal::Busy, "too many notes in an hour: try again later".to_owned()));
        }
        if !note.countersign(&self.party) {
            return Err(invalid("it has no room for another signature"));
        }
        self.ledger.append(&note).map_err(failed)?;
        Ok(Countersigned { note, is_new: true })
    }

    fn check_payment(&self, payment: &Payment) -> Result<(), Refused> {
        if !self.deals_with(&payment.payee) {
            return Err((Refusal::Forbidden, "there is no contract with that payee here".to_owned()));
        }
        let last = self.ledger.last_payment(&payment.payer, &payment.payee);
        let last = last.map_err(|error| (Refusal::Other, error.to_string()))?;
        let (sequence, paid, time) =
            last.map_or((0, 0, 0), |last| (last.sequence, last.paid_microcredits, last.time));
        if payment.sequence != sequence + 1 || payment.paid_microcredits < paid || payment.time < time {
            return Err((Refusal::Conflict, format!("it does not follow payment {sequence}")));
        }
        if payment.time > unix_seconds().saturating_add(SKEW_SECONDS) {
            return Err((Refusal::Clock, "it is from the future".to_owned()));
        }
        Ok(())
    }

    fn check_trust(&self, trust: &Trust) -> Result<(), Refused> {
        if !self.trusted.contains(&trust.guarantor) && !self.deals_with(&trust.guarantor) {
            return Err((Refusal::Forbidden, "there is no contract with that guarantor here".to_owned()));
        }
        let failed = |error: commonhold_ledger::LedgerError| (Refusal::Other, error.to_string());
        let last =
            self.ledger.last_trust(&trust.guarantor, &trust.creditor, &trust.debtor).map_err(failed)?;
        if trust.sequence != last.as_ref().map_or(0, |last| last.sequence) + 1 {
            return Err((
                Refusal::Conflict,
                "it does not follow the last trust line of these three".to_owned(),
            ));
        }
        // What was given on the strength of a line stays covered by it.
        if last.as_ref().is_some_and(|last| trust.limit_microcredits < last.limit_microcredits) {
            let carried = self.creditor.carried(&trust.debtor).map_err(|why| (Refusal::Other, why))?;
            if trust.limit_microcredits < carried {
                let why = format!(
                    "{carried} microcredits are owed on it: it can be lowered to that, and further when they are paid"
                );
                return Err((Refusal::Conflict, why));
            }
        }
        let lines = self.ledger.trust_lines(&trust.creditor).map_err(failed)?;
        if last.is_none()
            && lines.iter().filter(|line| line.guarantor == trust.guarantor).count() >= LINES_MAX
        {
            return Err((Refusal::Full, format!("a guarantor has at most {LINES_MAX} lines here")));
        }
        Ok(())
    }

    /// Is there a contract with that party?
    fn deals_with(&self, party: &PartyId) -> bool {
        let Ok(store) = self.vault.store() else { return false };
        let mut contracts = store.contracts().into_iter().filter_map(|id| store.contract(&id));
        contracts.any(|state| state.contract.owner == *party || state.contract.provider == *party)
    }
}

#[cfg(test)]
mod tests;
