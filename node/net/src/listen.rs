//! Listening: every address is bound before the node counts as started, and a port that somebody
//! else has is told apart from an address that cannot be used.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use commonhold_format::ids::NodeId;
use futures::StreamExt;
use libp2p::Swarm;
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::swarm::SwarmEvent;

use crate::StartError;
use crate::guard::Guard;
use crate::table::ip_of;

/// The address as others dial it.
pub(crate) fn with_node(address: Multiaddr, node: &NodeId) -> String {
    format!("{address}/p2p/{node}")
}

/// Adds an address to those that are told to others.
pub(crate) fn push_address(listening: &Mutex<Vec<String>>, address: Multiaddr, node: &NodeId) {
    let text = with_node(address, node);
    let mut listening = listening.lock().unwrap_or_else(PoisonError::into_inner);
    if !listening.contains(&text) {
        listening.push(text);
    }
}

/// Listens everywhere, and waits until every listener is bound.
pub(crate) async fn listen(
    swarm: &mut Swarm<Guard>,
    node: &NodeId,
    addresses: &[String],
    listening: &Mutex<Vec<String>>,
) -> Result<(), StartError> {
    let mut waiting: HashMap<ListenerId, String> = HashMap::new();
    for text in addresses {
        let bad = |why: String| StartError::BadAddress { address: text.clone(), why };
        crate::check_address(text).map_err(bad)?;
        let address: Multiaddr = text.parse().map_err(|error| bad(format!("{error}")))?;
        probe(&address).map_err(|error| listen_error(text, &error))?;
        let id = swarm.listen_on(address).map_err(|error| match error {
            TransportError::Other(error) => listen_error(text, &error),
            TransportError::MultiaddrNotSupported(_) => bad("no transport listens on it".to_owned()),
        })?;
        waiting.insert(id, text.clone());
    }
    while !waiting.is_empty() {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                waiting.remove(&listener_id);
                push_address(listening, address, node);
            }
            SwarmEvent::ListenerError { listener_id, error } => {
                if let Some(text) = waiting.get(&listener_id) {
                    return Err(listen_error(text, &error));
                }
            }
            SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } => {
                if let Some(text) = waiting.get(&listener_id) {
                    return Err(listen_error(text, &error));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Binds the address for a moment, as its only user: libp2p itself shares ports between programs
/// (SO_REUSEPORT), which would hide that somebody listens there already.
fn probe(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    match (ip_of(address), parts.nth(1)) {
        (Some(ip), Some(Protocol::Tcp(port))) if port > 0 => {
            std::net::TcpListener::bind((ip, port)).map(|_| ())
        }
        (Some(ip), Some(Protocol::Udp(port))) if port > 0 => {
            std::net::UdpSocket::bind((ip, port)).map(|_| ())
        }
        _ => Ok(()),
    }
}

fn listen_error(address: &str, error: &(dyn std::error::Error + 'static)) -> StartError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let taken =
            error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse);
        if taken || error.to_string().contains("Address already in use") {
            return StartError::PortTaken { address: address.to_owned() };
        }
        cause = error.source();
    }
    StartError::BadAddress { address: address.to_owned(), why: error.to_string() }
}
