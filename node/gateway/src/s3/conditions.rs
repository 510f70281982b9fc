//! Conditional requests: what must hold of an object (RFC 9110, section 13; spec/s3.md, "Conditions").
//!
//! Invariant: `If-Match` decides over `If-Unmodified-Since`, and `If-None-Match` over
//! `If-Modified-Since`, as RFC 9110 has it. Times are compared by whole seconds, because that is what
//! `Last-Modified` shows.

use std::time::{Duration, SystemTime};

use commonhold_client::types::FileInfo;
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::attributes::etag_of;
use crate::drive::OnlyIf;

/// The latest time that can be written down: the end of the year 9999.
const LATEST_MS: u64 = 253_402_300_799_000;

/// Milliseconds since 1970 as S3 shows them.
pub(super) fn time(ms: u64) -> Timestamp {
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_millis(ms.min(LATEST_MS)))
}

/// The same of a time that may be before 1970, which S3 does not know.
pub(super) fn at(ms: i64) -> Timestamp {
    time(u64::try_from(ms).unwrap_or(0))
}

/// When an object was last modified: when it was stored, or for a folder when something in it changed.
pub(super) fn modified(info: &FileInfo) -> Timestamp {
    if info.version > 0 { time(info.version) } else { at(info.entry.modified_ms) }
}

/// What a request asks of an object that it reads.
#[derive(Default)]
pub(super) struct Conditions {
    pub(super) matches: Option<ETagCondition>,
    pub(super) none_match: Option<ETagCondition>,
    pub(super) modified_since: Option<Timestamp>,
    pub(super) unmodified_since: Option<Timestamp>,
}

/// How the conditions came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All hold.
    Hold,
    /// The client has it already.
    NotModified,
    /// One does not hold.
    Failed,
}

impl Conditions {
    /// Looks at an object with this ETag and time.
    pub(super) fn of(&self, etag: &ETag, modified: &Timestamp) -> Outcome {
        let modified = whole_seconds(modified);
        match (&self.matches, &self.unmodified_since) {
            (Some(condition), _) if !strongly(condition, etag) => return Outcome::Failed,
            (None, Some(since)) if modified > whole_seconds(since) => return Outcome::Failed,
            _ => {}
        }
        match (&self.none_match, &self.modified_since) {
            (Some(condition), _) if weakly(condition, etag) => Outcome::NotModified,
            (None, Some(since)) if modified <= whole_seconds(since) => Outcome::NotModified,
            _ => Outcome::Hold,
        }
    }

    /// For a copy: everything that does not hold is a `PreconditionFailed`.
    pub(super) fn require(&self, info: &FileInfo) -> S3Result<()> {
        match self.of(&etag_of(info), &modified(info)) {
            Outcome::Hold => Ok(()),
            Outcome::NotModified | Outcome::Failed => Err(S3Error::new(S3ErrorCode::PreconditionFailed)),
        }
    }
}

fn whole_seconds(time: &Timestamp) -> i64 {
    let mut text = Vec::new();
    // Writing to memory does not fail; an instant that cannot be written is as old as can be.
    if time.format(s3s::dto::TimestampFormat::EpochSeconds, &mut text).is_err() {
        return i64::MIN;
    }
    let whole = text.split(|byte| *byte == b'.').next().unwrap_or_default();
    std::str::from_utf8(whole).ok().and_then(|whole| whole.parse().ok()).unwrap_or(i64::MIN)
}

fn strongly(condition: &ETagCondition, etag: &ETag) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.strong_cmp(etag),
    }
}

fn weakly(condition: &ETagCondition, etag: &ETag) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.weak_cmp(etag),
    }
}

/// What a write asks of the object whose place it takes. `standing` is that object, if there is one.
///
/// # Errors
/// `PreconditionFailed`, or `NoSuchKey` when something must be there and is not.
pub(super) fn on_write(
    matches: Option<&ETagCondition>,
    none_match: Option<&ETagCondition>,
    standing: Option<&FileInfo>,
) -> S3Result<OnlyIf> {
    match (matches, none_match) {
        (None, None) => Ok(OnlyIf::Always),
        (None, Some(ETagCondition::Any)) if standing.is_none() => Ok(OnlyIf::Absent),
        (None, Some(ETagCondition::Any)) => Err(S3Error::new(S3ErrorCode::PreconditionFailed)),
        (Some(condition), None) => {
            let standing = standing.ok_or_else(|| S3Error::new(S3ErrorCode::NoSuchKey))?;
            if !strongly(condition, &etag_of(standing)) {
                return Err(S3Error::new(S3ErrorCode::PreconditionFailed));
            }
            Ok(OnlyIf::Content(standing.content_id.clone()))
        }
        (None, Some(ETagCondition::ETag(_))) => {
            Err(super::faults::not_implemented("a write takes If-None-Match with * alone"))
        }
        (Some(_), Some(_)) => {
            Err(super::faults::not_implemented("a write takes If-Match or If-None-Match, and not both"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn tag(value: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(ETag::Strong(value.into())))
    }

    #[test]
    fn conditions_come_out_as_rfc_9110_says() {
        let etag = ETag::Strong("a".into());
        let at = time(10_500);
        let outcome = |conditions: Conditions| conditions.of(&etag, &at);
        use Outcome::{Failed, Hold, NotModified};
        assert_eq!(outcome(Conditions::default()), Hold);
        assert_eq!(outcome(Conditions { matches: tag("a"), ..Default::default() }), Hold);
        assert_eq!(outcome(Conditions { matches: tag("b"), ..Default::default() }), Failed);
        assert_eq!(outcome(Conditions { matches: Some(ETagCondition::Any), ..Default::default() }), Hold);
        assert_eq!(outcome(Conditions { none_match: tag("a"), ..Default::default() }), NotModified);
        assert_eq!(outcome(Conditions { none_match: tag("b"), ..Default::default() }), Hold);
        for (seconds, since, unmodified) in
            [(9, Hold, Failed), (10, NotModified, Hold), (11, NotModified, Hold)]
        {
            let when = Some(time(seconds * 1000));
            assert_eq!(outcome(Conditions { modified_since: when.clone(), ..Default::default() }), since);
            assert_eq!(outcome(Conditions { unmodified_since: when, ..Default::default() }), unmodified);
        }
        // The tags decide where both are given.
        let both = Conditions { matches: tag("a"), unmodified_since: Some(time(0)), ..Default::default() };
        assert_eq!(outcome(both), Hold);
        let both =
            Conditions { none_match: tag("b"), modified_since: Some(time(99_000)), ..Default::default() };
        assert_eq!(outcome(both), Hold);
    }

    #[test]
    fn times_beyond_the_calendar_are_its_end() {
        assert_eq!(time(u64::MAX), time(LATEST_MS));
    }
}
