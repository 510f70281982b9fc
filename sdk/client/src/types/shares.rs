//! Links that an owner gives out, and what somebody else's link shows (spec/api.md, spec/links.md).
//!
//! Invariant: no link and no password is printed by `Debug`, so that none gets into a log by that way.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::FileKind;

/// Longest password of a share, bytes.
pub const PASSWORD_LEN_MAX: usize = 1024;

/// `GET /v1/shares`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharesView {
    /// Newest first.
    pub shares: Vec<ShareView>,
}

/// A link that the owner has given out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareView {
    /// The link's id, 64 hexadecimal digits; no secret.
    pub id: String,
    /// What it shows. A path that was moved or removed since shows nothing any more.
    pub path: String,
    /// What stands there.
    pub kind: FileKind,
    /// When it was made.
    pub created_ms: i64,
    /// When it ends, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
    /// Whether a password is needed.
    pub password: bool,
    /// Whether others may put files into the folder.
    pub drop_box: bool,
    /// The whole link, secret included. Whoever has it can read what is shared.
    pub link: String,
    /// What keeps the link from working, a sentence; absent when it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl fmt::Debug for ShareView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareView")
            .field("id", &self.id)
            .field("path", &self.path)
            .field("kind", &self.kind)
            .field("created_ms", &self.created_ms)
            .field("expires_ms", &self.expires_ms)
            .field("password", &self.password)
            .field("drop_box", &self.drop_box)
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}

/// `POST /v1/shares`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareRequest {
    /// What is shared.
    pub path: String,
    /// For how long; for ever without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u64>,
    /// A password that is needed beside the link, 1 to 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Others may put files into the folder, and see nothing of it.
    #[serde(default)]
    pub drop_box: bool,
    /// Where the link points, like `https://drive.example.org`; without it, what the configuration says, or
    /// this node's own gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

impl fmt::Debug for ShareRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareRequest")
            .field("path", &self.path)
            .field("expires_seconds", &self.expires_seconds)
            .field("drop_box", &self.drop_box)
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// `POST /v1/links/list` and `POST /v1/links/archive`: what somebody else's link shows. The node reads and
/// verifies it itself and trusts no gateway.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// The whole link, or `ID#SECRET`.
    pub link: String,
    /// Its password, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Where below it; its root is a folder with one entry, what is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Go on after this name; for a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many entries; for a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl fmt::Debug for LinkRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkRequest").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::S3KeyNew;

    #[test]
    fn attack_19_no_link_or_password_is_printed() {
        let (link, password) = ("https://node.example/s/ID#SECRET", "swordfish");
        let view = ShareView {
            id: "ab".repeat(32),
            path: "/docs".to_owned(),
            kind: FileKind::Folder,
            created_ms: 1,
            expires_ms: None,
            password: true,
            drop_box: false,
            link: link.to_owned(),
            problem: None,
        };
        let view = SharesView { shares: vec![view] };
        let asked = ShareRequest {
            path: "/docs".to_owned(),
            password: Some(password.to_owned()),
            ..ShareRequest::default()
        };
        let opened = LinkRequest {
            link: link.to_owned(),
            password: Some(password.to_owned()),
            path: Some("/docs".to_owned()),
            ..LinkRequest::default()
        };
        let key = S3KeyNew { secret_key: "SECRET".to_owned(), ..S3KeyNew::default() };
        let printed = format!("{view:?} {asked:?} {opened:?} {key:?}");
        assert_eq!(printed.matches("/docs").count(), 3, "{printed}");
        assert!(!printed.contains("SECRET") && !printed.contains(password), "{printed}");
    }
}
