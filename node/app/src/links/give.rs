//! Giving links out, keeping them current, and taking them back.

use std::sync::Arc;
use std::time::Duration;

use commonhold_client::types::{FileKind, PASSWORD_LEN_MAX, ShareRequest, ShareView};
use commonhold_drive::{Drive, DriveError, DrivePath, Share, Shown};
use commonhold_format::drive::{Attributes, Name};
use commonhold_format::link::{
    LinkContent, LinkKeys, LinkPlace, LinkRecord, LinkUrl, PASSWORD_ITERATIONS, PasswordKey,
};
use commonhold_format::record::link_key;
use commonhold_gateway::ApiFault;
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::Links;
use crate::api::drive_fault;
use crate::clock::{unix_milliseconds, unix_seconds};
use crate::datadir::random_secret;

/// How often open links are announced again, and looked at for their end.
const RENEW: Duration = Duration::from_secs(20 * 60);
/// A change of the drive is followed this much later: many often come together.
const FOLLOW: Duration = Duration::from_millis(500);
/// How long a closed link is announced as closed, seconds.
const CLOSED_FOR: u64 = 90 * 24 * 3600;
/// Longest life of a link, seconds.
const EXPIRES_MAX: u64 = 100 * 365 * 24 * 3600;

// What is kept with a share in the drive.
const PATH: &str = "path";
const CREATED: &str = "created";
const EXPIRES: &str = "expires";
const SEQUENCE: &str = "sequence";
const STATE: &str = "state";
const CLOSED: &str = "closed";
const CLOSED_AT: &str = "closed-at";
const REVOKED: &str = "revoked";
const ENDED: &str = "ended";
const DROP: &str = "drop";
const BASE: &str = "base";
const KIND: &str = "kind";
const SHOWN: &str = "shown";
const PASSWORD_SALT: &str = "password-salt";
const PASSWORD_ROUNDS: &str = "password-iterations";
const PASSWORD_KEY: &str = "password-key";

/// A share as it is kept.
struct Given {
    name: Name,
    keys: LinkKeys,
    attributes: Attributes,
    share: Share,
}

impl Given {
    fn text(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    fn number(&self, key: &str) -> u64 {
        self.text(key).parse().unwrap_or(0)
    }

    fn is_open(&self) -> bool {
        self.text(STATE).is_empty()
    }

    fn password(&self) -> Option<PasswordKey> {
        let salt: [u8; 16] = HEXLOWER.decode(self.text(PASSWORD_SALT).as_bytes()).ok()?.try_into().ok()?;
        let key = Zeroizing::new(HEXLOWER.decode(self.text(PASSWORD_KEY).as_bytes()).ok()?);
        let key: [u8; 32] = key.as_slice().try_into().ok()?;
        let rounds = u32::try_from(self.number(PASSWORD_ROUNDS)).ok()?;
        PasswordKey::from_parts(rounds, salt, Zeroizing::new(key)).ok()
    }

    fn view(&self) -> ShareView {
        let expires = self.number(EXPIRES);
        let link = LinkUrl::new(Some(self.text(BASE)), self.keys.id(), self.keys.secret().clone());
        let problem = match self.text(STATE) {
            CLOSED => Some("what it showed was moved or removed, so it shows nothing any more".to_owned()),
            ENDED => Some("it has come to its end".to_owned()),
            _ => None,
        };
        ShareView {
            id: HEXLOWER.encode(&self.keys.id().0),
            path: self.text(PATH).to_owned(),
            kind: if self.text(KIND) == "folder" { FileKind::Folder } else { FileKind::File },
            created_ms: self.text(CREATED).parse().unwrap_or(0),
            expires_ms: (expires > 0)
                .then(|| i64::try_from(expires.saturating_mul(1000)).unwrap_or(i64::MAX)),
            password: !self.text(PASSWORD_SALT).is_empty(),
            drop_box: !self.text(DROP).is_empty(),
            link: link.map(|link| link.text().to_string()).unwrap_or_default(),
            problem,
        }
    }
}

/// Work on a small file.
fn blocking<T>(work: impl FnOnce() -> anyhow::Result<T>) -> Result<T, ApiFault> {
    tokio::task::block_in_place(work).map_err(|error| ApiFault::internal(format!("{error:#}")))
}

fn internal(error: impl ToString) -> ApiFault {
    ApiFault::internal(error.to_string())
}

impl Links {
    async fn given(&self, drive: &Drive) -> Result<Vec<Given>, ApiFault> {
        let shares = drive.shares().await.map_err(drive_fault)?;
        let given = shares.into_iter().filter_map(|share| {
            let seed: [u8; 16] = HEXLOWER.decode(share.name.as_bytes()).ok()?.try_into().ok()?;
            let name = Name::new(&share.name).ok()?;
            let keys = self.root.link_keys(&seed);
            Some(Given { name, keys, attributes: share.attributes.clone(), share })
        });
        Ok(given.collect())
    }

    fn is_revoked(&self, given: &Given) -> bool {
        given.text(STATE) == REVOKED || self.revoked.contains(&given.keys.id())
    }

    /// The links that were given out and not taken back, newest first.
    pub async fn shares(&self, drive: &Drive) -> Result<Vec<ShareView>, ApiFault> {
        let given = self.given(drive).await?;
        let mut views: Vec<ShareView> =
            given.iter().filter(|given| !self.is_revoked(given)).map(Given::view).collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.created_ms));
        Ok(views)
    }

    /// Gives out a link.
    pub async fn share(&self, drive: &Drive, request: ShareRequest) -> Result<ShareView, ApiFault> {
        let path: DrivePath = request.path.parse().map_err(drive_fault)?;
        let (info, shown) = drive.shown(&path).await.map_err(drive_fault)?;
        if request.drop_box && !info.is_folder() {
            return Err(ApiFault::invalid("a drop box is a folder"));
        }
        let seed = random_secret();
        let seed: [u8; 16] = seed[..16].try_into().map_err(internal)?;
        let name = Name::new(&HEXLOWER.encode(&seed)).map_err(internal)?;
        let mut attributes = Attributes::new();
        let mut set = |key: &str, value: String| attributes.insert(key.to_owned(), value);
        set(PATH, path.to_string());
        set(CREATED, unix_milliseconds().to_string());
        set(SEQUENCE, "1".to_owned());
        set(KIND, if info.is_folder() { "folder" } else { "file" }.to_owned());
        set(SHOWN, HEXLOWER.encode(&shown));
        let base = request.base.as_deref().unwrap_or(&self.base).trim_end_matches('/').to_owned();
        set(BASE, base.clone());
        if request.drop_box {
            set(DROP, "1".to_owned());
        }
        if let Some(seconds) = request.expires_seconds {
            if seconds == 0 || seconds > EXPIRES_MAX {
                return Err(ApiFault::invalid(
                    "a link lives for a second at least and for a hundred years at most",
                ));
            }
            set(EXPIRES, (unix_seconds() + seconds).to_string());
        }
        if let Some(password) = request.password.map(Zeroizing::new) {
            if password.is_empty() || password.len() > PASSWORD_LEN_MAX {
                return Err(ApiFault::invalid(format!("a password has 1 to {PASSWORD_LEN_MAX} bytes")));
            }
            let mut salt = [0; 16];
            salt.copy_from_slice(&random_secret()[..16]);
            let deriving = move || PasswordKey::derive(&password, salt, PASSWORD_ITERATIONS);
            let key = tokio::task::spawn_blocking(deriving).await.map_err(internal)?.map_err(internal)?;
            set(PASSWORD_SALT, HEXLOWER.encode(&salt));
            set(PASSWORD_ROUNDS, PASSWORD_ITERATIONS.to_string());
            set(PASSWORD_KEY, HEXLOWER.encode(key.key()));
        }
        let keys = self.root.link_keys(&seed);
        // A base that no link can have is found out before anything is written.
        LinkUrl::new(Some(&base), keys.id(), keys.secret().clone())
            .map_err(|error| ApiFault::invalid(error.to_string()))?;
        let _writing = self.writing.lock().await;
        let what = if request.drop_box { Shown::Name } else { Shown::Content };
        let share = drive.put_share(&name, &path, what, attributes.clone()).await.map_err(drive_fault)?;
        let given = Given { name, keys, attributes, share };
        let problem = self.announce(&given).await?;
        Ok(ShareView { problem, ..given.view() })
    }

    /// Takes a link back, by its id or the first digits of it.
    pub async fn unshare(&self, drive: &Drive, id: &str) -> Result<ShareView, ApiFault> {
        let digits = id.to_ascii_lowercase();
        if digits.len() < 8 {
            return Err(ApiFault::invalid("a link is named by at least 8 digits of its id"));
        }
        let _writing = self.writing.lock().await;
        let given = self.given(drive).await?;
        let mut named = given.into_iter().filter(|given| {
            !self.is_revoked(given) && HEXLOWER.encode(&given.keys.id().0).starts_with(&digits)
        });
        let given = match (named.next(), named.next()) {
            (Some(given), None) => given,
            (None, _) => return Err(ApiFault::not_found("no link with this id was given out")),
            (Some(_), Some(_)) => return Err(ApiFault::invalid("several links begin with these digits")),
        };
        let view = given.view();
        // First of all, and without the drive: it may not be possible to change that now.
        let id = given.keys.id();
        blocking(|| self.revoked.add(id))?;
        let problem = match self.close(drive, given, REVOKED).await {
            Ok(problem) => {
                blocking(|| self.revoked.settle(&id))?;
                problem
            }
            Err(fault) => {
                self.behind.notify_one();
                Some(format!(
                    "it is revoked, but the drive does not say so yet: {}; this node goes on trying",
                    fault.message
                ))
            }
        };
        Ok(ShareView { problem, ..view })
    }

    /// Writes a link's record as revoked, and says why in the drive. Answers as [`Self::announce`].
    async fn close(&self, drive: &Drive, mut given: Given, state: &str) -> Result<Option<String>, ApiFault> {
        let sequence = given.number(SEQUENCE) + 1;
        given.attributes.insert(SEQUENCE.to_owned(), sequence.to_string());
        given.attributes.insert(STATE.to_owned(), state.to_owned());
        given.attributes.insert(CLOSED_AT.to_owned(), unix_seconds().to_string());
        let announced = self.announce(&given).await?;
        drive.set_share(&given.name, given.attributes.clone(), true).await.map_err(drive_fault)?;
        Ok(announced)
    }

    /// Writes a link's record and announces it. Answers what is wrong when nobody took it: the share stands
    /// in the drive all the same, and [`Self::follow_forever`] goes on trying.
    async fn announce(&self, given: &Given) -> Result<Option<String>, ApiFault> {
        let record = self.record_of(given)?;
        let (key, bytes) = (link_key(&record.id), record.encode());
        self.remember(record);
        let Err(error) = self.net.publish(key, bytes).await else { return Ok(None) };
        self.behind.notify_one();
        Ok(Some(format!(
            "others do not know of it yet, because it could not be announced ({error}); this node goes on trying"
        )))
    }

    fn record_of(&self, given: &Given) -> Result<LinkRecord, ApiFault> {
        let sequence = given.number(SEQUENCE).max(1);
        let Some((segment, root)) = given.share.root.clone().filter(|_| given.is_open()) else {
            return LinkRecord::revoke(&given.keys, sequence).map_err(internal);
        };
        let cover_len = root.extents.first().map_or(0, |extent| extent.offset);
        let mut salt = [0; 32];
        salt.copy_from_slice(&random_secret()[..]);
        let drop_box = !given.text(DROP).is_empty();
        let content = LinkContent {
            root: Some(root),
            drop_box: drop_box.then(|| given.keys.drop_key().public()),
            written_ms: given.share.written_ms,
        };
        let place = LinkPlace { segment, cover_len };
        let (expires, password) = (given.number(EXPIRES), given.password());
        LinkRecord::write(&given.keys, sequence, expires, place, salt, password.as_ref(), &content)
            .map_err(internal)
    }

    /// Follows the drive: links whose path shows something else are written anew, those whose path or time
    /// is over are closed. With `renew`, all are announced again.
    async fn follow(&self, drive: &Drive, renew: bool) -> Result<(), ApiFault> {
        let _writing = self.writing.lock().await;
        let now = unix_seconds();
        for mut given in self.given(drive).await? {
            let id = given.keys.id();
            if self.revoked.contains(&id) {
                if given.text(STATE) != REVOKED {
                    self.close(drive, given, REVOKED).await?;
                }
                blocking(|| self.revoked.settle(&id))?;
                continue;
            }
            if !given.is_open() {
                if now.saturating_sub(given.number(CLOSED_AT)) > CLOSED_FOR {
                    drive.remove_share(&given.name).await.map_err(drive_fault)?;
                } else if renew {
                    self.announce(&given).await?;
                }
                continue;
            }
            let expires = given.number(EXPIRES);
            if expires > 0 && expires <= now {
                self.close(drive, given, ENDED).await?;
                continue;
            }
            let Ok(path) = given.text(PATH).parse::<DrivePath>() else { continue };
            let shown = match drive.shown(&path).await {
                Ok((_, shown)) => HEXLOWER.encode(&shown),
                Err(DriveError::NotFound(_)) => {
                    self.close(drive, given, CLOSED).await?;
                    continue;
                }
                Err(error) => return Err(drive_fault(error)),
            };
            let drop_box = !given.text(DROP).is_empty();
            if shown != given.text(SHOWN) && !drop_box {
                let sequence = given.number(SEQUENCE) + 1;
                given.attributes.insert(SEQUENCE.to_owned(), sequence.to_string());
                given.attributes.insert(SHOWN.to_owned(), shown);
                let written = drive.put_share(&given.name, &path, Shown::Content, given.attributes.clone());
                given.share = written.await.map_err(drive_fault)?;
                self.announce(&given).await?;
            } else if renew {
                self.announce(&given).await?;
            }
        }
        Ok(())
    }

    /// Keeps the links current for as long as the node runs.
    pub async fn follow_forever(self: Arc<Self>, drive: Arc<Drive>) {
        let mut changes = drive.changes();
        let mut renew = true;
        loop {
            if let Err(error) = self.follow(&drive, renew).await {
                tracing::warn!(%error, "links could not be brought up to date; trying again");
                self.behind.notify_one();
            }
            renew = tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    tokio::time::sleep(FOLLOW).await;
                    changes.mark_unchanged();
                    false
                }
                () = self.behind.notified() => {
                    tokio::time::sleep(FOLLOW * 20).await;
                    true
                }
                () = tokio::time::sleep(RENEW) => true,
            };
        }
    }

    /// The share of a link, if it is this owner's and takes files.
    pub(super) async fn drop_box(
        &self,
        drive: &Drive,
        link: commonhold_format::link::LinkId,
    ) -> Result<Option<(LinkKeys, DrivePath)>, ApiFault> {
        let given = self.given(drive).await?;
        let Some(given) = given.into_iter().find(|given| given.keys.id() == link) else { return Ok(None) };
        if !given.is_open() || self.is_revoked(&given) || given.text(DROP).is_empty() {
            return Ok(None);
        }
        let path = given.text(PATH).parse().map_err(drive_fault)?;
        Ok(Some((given.keys, path)))
    }
}
