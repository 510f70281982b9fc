//! Offers of contracts, each with a line in the journal.
//!
//! Invariant: a line is about a contract that its owner has signed, from a node that acts for it.

use commonhold_format::ids::NodeId;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::Statement;
use commonhold_format::wire::Refusal;

use super::{Answer, Provider, Refused};
use crate::journal::Side;

impl Provider {
    /// Answers an offer of a contract.
    pub(super) async fn answer_offer(&self, from: NodeId, note: &[u8]) -> Answer {
        let answer = self.open_contract(from, note).await;
        let contract = SignedNote::parse(note).ok().and_then(|note| Statement::of(&note).ok());
        let Some(Statement::Contract(contract)) = contract else { return answer };
        match &answer {
            Ok(_) => self.journal.opened(Side::Provider, &contract),
            // Nobody has to answer for what such an offer says.
            Err(Refused(Refusal::Invalid | Refusal::Forbidden, _)) => {}
            Err(Refused(_, why)) => self.journal.refused(Side::Provider, &contract, why),
        }
        answer
    }
}
