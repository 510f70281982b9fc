//! Typed calls to a running node's local API (spec/api.md).
//!
//! Invariant: what a caller gets is either the node's whole answer or an error that says why not;
//! a stream that was cut is never taken for one that ended. Without the feature `http` the crate
//! is the API's types alone, which is what the gateway needs. Not here: where a node's token and
//! address are found (the app knows its data directories).

#[cfg(feature = "http")]
mod http;
pub mod types;

#[cfg(feature = "http")]
pub use http::{Archive, Client, ClientError, FileRead, FileWrite, RemoteFile};
