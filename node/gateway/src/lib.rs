//! The local HTTP API of a node (spec/api.md): who may call, what a request may look like, and how
//! archives stream through. What the calls do stands behind [`NodeApi`], which the app implements.
//!
//! Invariant: no request reaches the node without the token, the right Host and either no Origin
//! or this API's own; nothing that a client sends makes the gateway hold more than a bounded
//! amount; a stream that broke off never looks like one that ended, in either direction. Not here:
//! TLS, CORS, and any address but loopback. Beside it: what a node shows to everybody, its ledger and the
//! pages of links, each on an address of its own.

mod api;
mod connection;
mod counts;
mod drive;
mod files;
mod guard;
mod health;
mod places;
mod plugins;
mod routes;
mod s3;
mod server;
mod share;
mod tiles;
mod upload;
mod web;

pub use api::{ApiFault, ArchiveReader, NodeApi};
pub use counts::RequestCounts;
pub use drive::{Answer, DriveApi, NewFile, OnlyIf, OpenFile, RemovedTo, Replaced};
pub use files::links::ReadLinkApi;
pub use files::s3_keys::S3KeyApi;
pub use guard::Token;
pub use health::{HealthApi, serve_health};
pub use plugins::{Install, Named, PluginApi, Settings};
pub use s3::{S3Keys, S3Options, serve_s3};
pub use server::serve;
pub use share::{Budgets, LinkApi, LinkId, Rate, serve_links};
pub use tiles::{LedgerPages, serve_ledger};
