//! What a fault of the drive is called in S3 (spec/s3.md, "Errors").
//!
//! Invariant: every fault becomes an error with a status of its class, so that clients try again what may
//! work later and nothing else.

use hyper::StatusCode;
use s3s::{S3Error, S3ErrorCode};

use crate::api::ApiFault;

/// The error for a fault. `missing` is what a `not_found` means here.
pub(super) fn error(fault: ApiFault, missing: S3ErrorCode) -> S3Error {
    let code = match fault.code {
        "not_found" | "gone" => missing,
        "precondition" => S3ErrorCode::PreconditionFailed,
        "conflict" => S3ErrorCode::OperationAborted,
        "changed" | "interrupted" => S3ErrorCode::IncompleteBody,
        "timeout" => S3ErrorCode::RequestTimeout,
        "invalid" | "bad_path" => S3ErrorCode::InvalidArgument,
        "too_large" => S3ErrorCode::EntityTooLarge,
        "over_budget" | "busy" => S3ErrorCode::SlowDown,
        "exists" => return conflict(&fault.message),
        "quota" => {
            return named("InsufficientStorage", StatusCode::INSUFFICIENT_STORAGE, fault.message);
        }
        "not_countersigned" | "quarantined" | "no_providers" | "too_few_providers" | "too_expensive"
        | "placement_policy" | "not_stored" | "unavailable" | "custody" | "stopping" => {
            S3ErrorCode::ServiceUnavailable
        }
        "wrong_role" => S3ErrorCode::ServiceUnavailable,
        _ => S3ErrorCode::InternalError,
    };
    S3Error::with_message(code, fault.message)
}

/// A key cannot be there because of another one: `a` and `a/b` cannot both be objects.
pub(super) fn conflict(why: &str) -> S3Error {
    named("KeyConflict", StatusCode::CONFLICT, format!("one key stands where this one needs a folder: {why}"))
}

/// An error with a name that S3 does not have.
fn named(code: &'static str, status: StatusCode, message: String) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

/// What is not supported says so.
pub(super) fn not_implemented(what: impl Into<String>) -> S3Error {
    S3Error::with_message(S3ErrorCode::NotImplemented, what.into())
}

/// A parameter that is not what the operation takes.
pub(super) fn invalid(what: impl Into<String>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_keep_their_class() {
        for code in [
            "invalid",
            "bad_path",
            "changed",
            "interrupted",
            "not_found",
            "gone",
            "precondition",
            "over_budget",
            "timeout",
            "exists",
            "conflict",
            "too_large",
            "no_providers",
            "not_stored",
            "unavailable",
            "busy",
            "stopping",
            "quota",
            "damaged",
            "io",
            "internal",
            "whatever",
        ] {
            let fault = ApiFault::new(code, "why");
            let expected = fault.status().as_u16() / 100;
            let error = error(fault, S3ErrorCode::NoSuchKey);
            let status = error.status_code().map_or(0, |status| status.as_u16());
            // A client that sends too much is told to slow down, which S3 says with 503.
            let allowed = [expected, if matches!(code, "over_budget") { 5 } else { expected }];
            assert!(allowed.contains(&(status / 100)), "{code} became {status}");
        }
    }
}
