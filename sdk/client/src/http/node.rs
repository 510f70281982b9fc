//! Calls about the node itself: how it is, its peers, audits, contracts, the ledger, money, the disk it lends.

use reqwest::Method;

use super::{BOOK_TIMEOUT, Client, ClientError, json};
use crate::types::{
    AuditReport, AuditRequest, ContractInfo, CreditView, InventoryPage, LedgerView, PaymentRequest, Peer,
    RepairReport, RepairRequest, SignedView, Status, StoreCheck, StoreCompaction, StoreScrub, TrustRequest,
};

impl Client {
    /// `GET /v1/status`: how the node is.
    ///
    /// # Errors
    /// See [`ClientError`]; so for all calls.
    pub async fn status(&self) -> Result<Status, ClientError> {
        json(self.call(Method::GET, &["status"]).timeout(BOOK_TIMEOUT)).await
    }

    /// `GET /v1/peers`: the nodes that it knows.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn peers(&self) -> Result<Vec<Peer>, ClientError> {
        json(self.call(Method::GET, &["peers"]).timeout(BOOK_TIMEOUT)).await
    }

    /// `POST /v1/audits`: challenges providers now and waits for their proofs.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn audit(&self, request: &AuditRequest) -> Result<AuditReport, ClientError> {
        json(self.call(Method::POST, &["audits"]).json(request)).await
    }

    /// `GET /v1/credit`: who may come to owe this provider how much.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn credit(&self) -> Result<CreditView, ClientError> {
        json(self.call(Method::GET, &["credit"]).timeout(BOOK_TIMEOUT)).await
    }

    /// `POST /v1/payments`: says that somebody has paid this party, and has it countersigned.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn payment(&self, request: &PaymentRequest) -> Result<SignedView, ClientError> {
        json(self.call(Method::POST, &["payments"]).json(request)).await
    }

    /// `POST /v1/trust`: answers for somebody's debt, and has it countersigned.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn trust(&self, request: &TrustRequest) -> Result<SignedView, ClientError> {
        json(self.call(Method::POST, &["trust"]).json(request)).await
    }

    /// `POST /v1/repair`: gives segments that lack chunks their chunks back, and waits for it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn repair(&self, request: &RepairRequest) -> Result<RepairReport, ClientError> {
        json(self.call(Method::POST, &["repair"]).json(request)).await
    }

    /// `POST /v1/store/check`: reads and checks everything in the store, and waits for it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn check_store(&self) -> Result<StoreCheck, ClientError> {
        json(self.call(Method::POST, &["store", "check"])).await
    }

    /// `POST /v1/store/compact`: frees what can be freed, and waits for it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn compact_store(&self) -> Result<StoreCompaction, ClientError> {
        json(self.call(Method::POST, &["store", "compact"])).await
    }

    /// `POST /v1/store/scrub`: scrubs to the end of the last pack, and waits for it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn scrub_store(&self) -> Result<StoreScrub, ClientError> {
        json(self.call(Method::POST, &["store", "scrub"])).await
    }

    /// `GET /v1/contracts`: the contracts in the node's book, as either side.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn contracts(&self) -> Result<Vec<ContractInfo>, ClientError> {
        json(self.call(Method::GET, &["contracts"]).timeout(BOOK_TIMEOUT)).await
    }

    /// `GET /v1/contracts/{id}/inventory`: a page of what is under a contract, from entry `from`.
    ///
    /// # Errors
    /// See [`ClientError`]; code `not_found` when the node has no such contract.
    pub async fn inventory(&self, contract: &str, from: u64) -> Result<InventoryPage, ClientError> {
        let call = self.call(Method::GET, &["contracts", contract, "inventory"]);
        json(call.query(&[("from", from)]).timeout(BOOK_TIMEOUT)).await
    }

    /// `GET /v1/ledger`: head, balances, and up to `count` entries from `from`; at most
    /// [`LEDGER_COUNT_MAX`](crate::types::LEDGER_COUNT_MAX).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn ledger(&self, from: u64, count: usize) -> Result<LedgerView, ClientError> {
        let call = self.call(Method::GET, &["ledger"]);
        json(call.query(&[("from", from), ("count", count as u64)]).timeout(BOOK_TIMEOUT)).await
    }
}
