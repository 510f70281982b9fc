//! Links: a URL that grants reading of one file or folder, or takes files for a folder, and the signed
//! record behind it (spec/links.md).
//!
//! Invariant: a [`LinkRecord`] that was decoded has been verified, and what it seals is bound to its link,
//! sequence and expiry. Nothing here prints a secret. What it is not: where records are kept
//! ([`crate::record`] says under which key), or what the shared folder is made of ([`crate::drive`]).

mod content;
mod cover;
mod dropbox;
mod keys;
mod record;
mod url;

pub use content::LinkContent;
pub use cover::{COVER_SEGMENTS_MAX, CoverList};
pub use dropbox::{DROP_HEAD_LEN_MAX, DropHead, DropOpener, DropSealer};
pub use keys::{
    DropKey, LinkId, LinkKeys, LinkSecret, PASSWORD_ITERATIONS, PASSWORD_ITERATIONS_MAX,
    PASSWORD_ITERATIONS_MIN, PASSWORD_LEN_MAX, PasswordKey,
};
pub(crate) use record::LINK_RECORD;
pub use record::{LinkPlace, LinkRecord, OpenLink};
pub use url::{LINK_URL_LEN_MAX, LinkUrl};

/// Why a link, its record or what it leads to is refused. No message holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The text is no link.
    #[error("not a link: {0}; copy it whole, with what stands after the # sign")]
    Url(&'static str),
    /// Bytes are no link record, no cover list, or a record cannot be made of what was given.
    #[error("not a link record: {0}")]
    Shape(&'static str),
    /// The record is larger than a record may be; its length in bytes.
    #[error("the link record is {0} bytes, more than 8,192: what it shares lies in too large a segment")]
    TooLarge(usize),
    /// It is not signed by the key that the link names.
    #[error("the link record's signature is wrong: it was altered, or is not from the link's owner")]
    Signature,
    /// Its owner has closed it.
    #[error("the link was revoked by its owner, or its time is over")]
    Revoked,
    /// Its time is over.
    #[error("the link has expired")]
    Expired,
    /// It needs a password, and none was given.
    #[error("the link needs a password")]
    PasswordNeeded,
    /// The password, or the number of iterations, is out of bounds.
    #[error("a link's password has 1 to 1,024 bytes, and 600,000 to 10,000,000 iterations")]
    Password,
    /// What is sealed does not open. The same for every reason.
    #[error(
        "what is sealed does not open: the link's secret or its password is wrong, or it was altered or cut"
    )]
    Sealed,
}
