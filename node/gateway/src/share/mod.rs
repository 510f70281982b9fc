//! Share pages: what strangers' browsers get from a node that serves links (spec/links.md, sections 5 and
//! 6), and what the gateway asks of the node for it.
//!
//! Invariant: nobody who asks here is known, and all that leaves is ciphertext under links that are valid
//! now, and the page's own files. A link's secret stands in the fragment, which reaches nobody; a link's id
//! is all that is logged. Every answer is paid from budgets, so that nobody uses the node as a proxy or an
//! amplifier (attack 42). Not here: TLS, for which an operator puts a web server in front.

mod budget;
mod client;
mod files;
mod outgoing;
mod routes;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::TcpListener;

use crate::api::ArchiveReader;
use crate::counts::RequestCounts;
use crate::drive::Answer;
use crate::server::Doors;

pub use budget::{Budgets, Rate};

/// A link's id: the public key that signs its record.
pub type LinkId = [u8; 32];

/// What a node does for visitors of its links' pages. Implemented by the app.
pub trait LinkApi: Send + Sync + 'static {
    /// The newest record of a link, encoded and verified. `not_found` when there is none, `gone` when it was
    /// revoked or has expired.
    fn record(&self, link: LinkId) -> Answer<'_, Vec<u8>>;

    /// The ciphertext of a segment that the link covers: its k data chunks one after the other, each of the
    /// segment's chunk length, made again from others if need be. `segment` is its description, encoded.
    /// `forbidden` unless the link's record covers it.
    fn segment(&self, link: LinkId, segment: Vec<u8>) -> Answer<'_, Bytes>;

    /// Takes a sealed file for a drop box. `wrong_role` when the link is not of this node's owner, or takes
    /// none.
    fn deposit(&self, link: LinkId, len: u64, sealed: ArchiveReader) -> Answer<'_, ()>;
}

/// Serves share pages under `/s/` on `listener`, on whatever address that is, until `shutdown` completes;
/// then as [`serve`](crate::serve) ends. Host is not checked: there is nothing here that is only for some.
pub async fn serve_links(
    listener: TcpListener,
    links: Arc<dyn LinkApi>,
    budgets: Budgets,
    counts: Arc<RequestCounts>,
    shutdown: impl Future<Output = ()>,
) {
    let doors = Doors::bounded(client::bounds(&budgets)).counting(counts);
    doors.open(listener, routes::router(links, budgets), shutdown).await;
}
