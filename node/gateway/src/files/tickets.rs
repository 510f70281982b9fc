//! Tickets: how a browser fetches one file or folder by a plain address, without the token.
//!
//! Invariant: a ticket is 256 random bits and names one thing; one for saving works once, within a minute;
//! one for showing works until a minute after its last use, because a player comes back for other parts;
//! at most [`TICKETS_MAX`] are open. What a browser shows is of a kind that runs nothing. Not here: how far
//! the downloads are ([`downloads`](super::downloads)).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use commonhold_client::types::{FileKind, Ticket, TicketRequest};
use data_encoding::HEXLOWER;
use futures::StreamExt;

use super::content::{Selected, body as content_body, select};
use super::downloads::{Downloads, Meter};
use super::names::{PDF, disposition, shown_as};
use super::step;
use crate::api::ApiFault;
use crate::routes::{Answer, Calls, NoQuery, Params, Shared, body, bounded};

/// Tickets that are open at the same time.
const TICKETS_MAX: usize = 256;
/// How long a ticket waits for its use.
const LIFE: Duration = Duration::from_secs(60);
/// Where tickets are shown.
const PREFIX: &str = "/v1/tickets/";
/// Digits of a ticket.
const DIGITS: usize = 64;

/// What a browser that shows a file lets it do: nothing.
const SHOWN_POLICY: &str = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; \
     style-src 'unsafe-inline'; frame-ancestors 'self'";
/// A sandbox would stop the browser's own viewer, whose scripts are not this origin's.
const PDF_POLICY: &str = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; \
     frame-ancestors 'self'";

pub(super) fn router() -> Router<Arc<Calls>> {
    Router::new().route("/v1/tickets", post(new)).route("/v1/tickets/{ticket}", get(redeem))
}

/// Whether a request shows a ticket in the place of the token.
pub(crate) fn shows_one(request: &Request) -> bool {
    let ticket = request.uri().path().strip_prefix(PREFIX);
    *request.method() == Method::GET && ticket.is_some_and(|ticket| ticket.len() == DIGITS)
}

/// What a ticket is for.
#[derive(Debug, Clone)]
struct Grant {
    path: String,
    version: Option<u64>,
    inline: bool,
    folder: bool,
}

struct Open {
    grant: Grant,
    /// Of one for saving; dropped with it, which tells that nobody came.
    meter: Option<Meter>,
    /// Answers that are under way.
    uses: usize,
    ends: Instant,
}

/// The tickets that are open. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Tickets {
    open: Arc<Mutex<HashMap<[u8; 32], Open>>>,
    /// What is fetched under them.
    pub(super) downloads: Downloads,
}

/// What a ticket is shown for.
struct Shown {
    grant: Grant,
    /// Counts a download.
    meter: Option<Meter>,
    /// Keeps one for showing open while it is answered.
    in_use: Option<Use>,
}

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops those whose time is over.
    pub(super) fn tidy(&self) {
        let now = Instant::now();
        self.lock().retain(|_, it| it.uses > 0 || it.ends > now);
    }

    fn add(&self, grant: Grant, meter: Option<Meter>) -> Result<String, ApiFault> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| ApiFault::internal("there is no randomness"))?;
        let now = Instant::now();
        let mut tickets = self.lock();
        tickets.retain(|_, it| it.uses > 0 || it.ends > now);
        if tickets.len() >= TICKETS_MAX {
            // The one that has waited longest is the one that nobody wants.
            let idle = tickets.iter().filter(|(_, it)| it.uses == 0).min_by_key(|(_, it)| it.ends);
            let idle = idle.map(|(key, _)| *key).ok_or_else(|| {
                ApiFault::new("busy", "too many files are being fetched: try again when some are done")
            })?;
            tickets.remove(&idle);
        }
        tickets.insert(key, Open { grant, meter, uses: 0, ends: now + LIFE });
        Ok(HEXLOWER.encode(&key))
    }

    /// What the ticket is for.
    fn take(&self, ticket: &str) -> Option<Shown> {
        let key: [u8; 32] = HEXLOWER.decode(ticket.as_bytes()).ok()?.try_into().ok()?;
        let mut tickets = self.lock();
        let open = tickets.get_mut(&key)?;
        if open.uses == 0 && open.ends <= Instant::now() {
            tickets.remove(&key);
            return None;
        }
        if !open.grant.inline {
            let Open { grant, meter, .. } = tickets.remove(&key)?;
            // Nobody wants one that was cancelled meanwhile.
            let wanted = meter.as_ref().is_none_or(Meter::fetched);
            return wanted.then_some(Shown { grant, meter, in_use: None });
        }
        open.uses += 1;
        let in_use = Some(Use { tickets: self.clone(), key });
        Some(Shown { grant: open.grant.clone(), meter: None, in_use })
    }
}

/// An answer that is under way.
struct Use {
    tickets: Tickets,
    key: [u8; 32],
}

impl Drop for Use {
    fn drop(&mut self) {
        if let Some(open) = self.tickets.lock().get_mut(&self.key) {
            open.uses -= 1;
            open.ends = Instant::now() + LIFE;
        }
    }
}

async fn new(State(calls): Shared, Params(NoQuery {}): Params<NoQuery>, request: Request) -> Answer<Ticket> {
    let TicketRequest { path, version, inline } = body(request).await?;
    let path = bounded("path", path)?;
    let info = calls.api.info(path.clone()).await?;
    let folder = info.entry.kind == FileKind::Folder;
    if folder && version.is_some() {
        return Err(ApiFault::new("bad_path", format!("{path} is a folder, which has no versions")));
    }
    let mut bytes = (!folder).then_some(info.entry.bytes);
    if let Some(version) = version {
        // Told now, when somebody who can read it asks.
        let file = calls.api.open(path.clone(), Some(version), Some(0..0)).await?;
        bytes = Some(file.info.entry.bytes);
    }
    let inline = inline && !folder;
    let downloads = &calls.tickets.downloads;
    let meter =
        (!inline).then(|| downloads.begin(path.clone(), version, info.entry.kind, bytes)).transpose()?;
    let download = meter.as_ref().map(Meter::id);
    let ticket = calls.tickets.add(Grant { path, version, inline, folder }, meter)?;
    Ok(Json(Ticket { url: format!("{PREFIX}{ticket}"), download }))
}

async fn redeem(
    State(calls): Shared,
    ticket: Result<Path<String>, PathRejection>,
    Params(NoQuery {}): Params<NoQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiFault> {
    let Shown { grant, meter, in_use } = calls.tickets.take(&step(ticket)?).ok_or_else(|| {
        ApiFault::not_found("this address was used already, or is older than a minute: ask for a new one")
    })?;
    let answer = if grant.folder {
        archive(&calls, grant.path).await
    } else {
        file(&calls, grant, &headers, in_use).await
    };
    let Some(meter) = meter else { return answer };
    let (parts, body) = match answer {
        Ok(response) => response.into_parts(),
        Err(fault) => {
            meter.fail(&fault.message);
            return Err(fault);
        }
    };
    let len = parts.headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    Ok(Response::from_parts(parts, meter.over(body, len)))
}

/// A folder as an archive.
async fn archive(calls: &Calls, path: String) -> Result<Response, ApiFault> {
    let name = path.rsplit('/').find(|name| !name.is_empty()).unwrap_or("drive");
    let shown = disposition(false, &format!("{name}.tar"));
    let archive = content_body(calls.api.get(path, None).await?).await?;
    let kind = HeaderValue::from_static("application/x-tar");
    Ok(([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, shown)], archive).into_response())
}

/// A file, or what the request wants of it.
async fn file(
    calls: &Calls,
    grant: Grant,
    headers: &HeaderMap,
    in_use: Option<Use>,
) -> Result<Response, ApiFault> {
    let (file, status, facts) = match select(&*calls.api, grant.path, grant.version, headers).await? {
        Selected::Answer(answer) => return Ok(answer),
        Selected::File(file, status, facts) => (file, status, facts),
    };
    let name = &file.info.entry.name;
    let declared = file.info.attributes.get("content-type").map(String::as_str);
    let shown = shown_as(declared, name).filter(|_| grant.inline);
    let disposition = disposition(shown.is_some(), name);
    let content = content_body(file.content).await?.into_data_stream();
    // Held as long as the answer is sent.
    let content = content.map(move |part| {
        let _ = &in_use;
        part
    });
    let mut response = (status, facts, axum::body::Body::from_stream(content)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(shown.unwrap_or("application/octet-stream")));
    headers.insert(CONTENT_DISPOSITION, disposition);
    if let Some(kind) = shown {
        let policy = if kind == PDF { PDF_POLICY } else { SHOWN_POLICY };
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Lets time go by.
    fn pass(tickets: &Tickets, time: Duration) {
        for open in tickets.lock().values_mut() {
            open.ends -= time;
        }
    }

    fn grant(path: &str, inline: bool) -> Grant {
        Grant { path: path.into(), version: None, inline, folder: false }
    }

    #[test]
    fn a_ticket_ends_after_a_minute_without_use() {
        let tickets = Tickets::default();
        let ticket = tickets.add(grant("/a", true), None).unwrap();
        for _ in 0..3 {
            pass(&tickets, Duration::from_secs(50));
            drop(tickets.take(&ticket).unwrap());
        }
        let held = tickets.take(&ticket).unwrap();
        pass(&tickets, LIFE * 10);
        assert!(tickets.take(&ticket).is_some(), "it is in use");
        drop(held);
        pass(&tickets, LIFE);
        assert!(tickets.take(&ticket).is_none());
        assert!(tickets.lock().is_empty());

        let once = tickets.add(grant("/a", false), None).unwrap();
        assert!(tickets.take(&once).is_some() && tickets.take(&once).is_none());
        let late = tickets.add(grant("/a", false), None).unwrap();
        pass(&tickets, LIFE);
        assert!(tickets.take(&late).is_none());
    }

    #[test]
    fn the_number_of_open_tickets_is_bounded() {
        let tickets = Tickets::default();
        let first = tickets.add(grant("/first", true), None).unwrap();
        let held = tickets.take(&first).unwrap();
        let mut others = Vec::new();
        for _ in 0..TICKETS_MAX {
            pass(&tickets, Duration::from_millis(1));
            others.push(tickets.add(grant("/a", true), None).unwrap());
        }
        assert_eq!(tickets.lock().len(), TICKETS_MAX);
        assert!(tickets.take(&others[0]).is_none(), "the oldest one had to go");
        let held: Vec<_> = others[1..].iter().map(|it| tickets.take(it).unwrap()).chain([held]).collect();
        assert_eq!(tickets.add(grant("/b", true), None).unwrap_err().code, "busy");
        drop(held);
        assert!(tickets.add(grant("/b", true), None).is_ok());
    }

    #[test]
    fn only_a_whole_ticket_is_one() {
        let tickets = Tickets::default();
        let ticket = tickets.add(grant("/a", true), None).unwrap();
        for bad in ["", &ticket[..63], &ticket.to_uppercase(), &"0".repeat(64), &format!("{ticket}0")] {
            assert!(tickets.take(bad).is_none() || *bad == ticket, "{bad}");
        }
        assert!(tickets.take(&ticket).is_some());
    }
}
