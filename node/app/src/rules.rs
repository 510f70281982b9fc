//! The engine's rules, for whoever verifies a ledger.

use commonhold_engine::claim::check_claim;
use commonhold_engine::settlement;
use commonhold_format::statement::{Claim, Contract, Receipt, Revision};
use commonhold_ledger::verify::Rules;

/// The rules by which this program's nodes sign.
pub struct EngineRules;

impl Rules for EngineRules {
    fn receipt(&self, contract: &Contract, previous: Option<&Receipt>, next: &Receipt) -> Result<(), String> {
        settlement::check_succession(contract, previous, next).map_err(|fault| fault.to_string())
    }

    fn claim(
        &self,
        contract: &Contract,
        revisions: &[Revision],
        receipt: Option<&Receipt>,
        claim: &Claim,
    ) -> Result<(), String> {
        check_claim(contract, revisions, receipt, claim).map_err(|fault| fault.to_string())
    }
}
