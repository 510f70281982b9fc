//! The local HTTP API of a node (spec/api.md): who may call, what a request may look like, and how
//! archives stream through. What the calls do stands behind [`NodeApi`], which the app implements.
//!
//! Invariant: no request reaches the node without the token, the right Host and either no Origin
//! or this API's own; nothing that a client sends makes the gateway hold more than a bounded
//! amount; a stream that broke off never looks like one that ended, in either direction. Not here:
//! TLS, CORS, and any address but loopback.

mod api;
mod connection;
mod guard;
mod plugins;
mod routes;
mod server;
mod tiles;
mod upload;

pub use api::{ApiFault, ArchiveReader, NodeApi};
pub use guard::Token;
pub use plugins::{Install, Named, PluginApi, Settings};
pub use server::serve;
pub use tiles::{LedgerPages, serve_ledger};
