//! Why a request is not done: a code for programs and a sentence for people.

use minicbor::decode::{Decode, Decoder};
use minicbor::encode::{Encode, Encoder, Write};

use super::{MESSAGE_LEN_MAX, Response};

/// Why a request was not done. On the wire it is a number; one that is not known decodes as
/// [`Refusal::Other`], so that later versions can add some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Refusal {
    /// Anything else; the message says what.
    Other = 0,
    /// Malformed, or it contradicts itself: asking again unchanged is of no use.
    Invalid = 1,
    /// The contract or chunk is not known here.
    Unknown = 2,
    /// The disk has no room for it: ask another node, or later.
    Full = 3,
    /// More than the contract covers: remove something, or open a larger contract.
    OverContract = 4,
    /// Price or term are not acceptable here.
    Terms = 5,
    /// Not for you, or not with this signature.
    Forbidden = 6,
    /// This node's copy of the chunk is damaged: take another, and repair.
    Damaged = 7,
    /// This node's disk is in quarantine: nothing is written or proven until its operator has
    /// looked at it.
    Quarantined = 8,
    /// Too many requests: try again later.
    Busy = 9,
    /// It does not follow the last revision or receipt: ask for the contract's state.
    Conflict = 10,
    /// A time in it is too far from this node's clock.
    Clock = 11,
    /// The owner owes more than the provider lets it: settle a receipt, pay, or have somebody answer for
    /// it.
    Credit = 12,
}

impl Refusal {
    const ALL: [Self; 13] = [
        Self::Other,
        Self::Invalid,
        Self::Unknown,
        Self::Full,
        Self::OverContract,
        Self::Terms,
        Self::Forbidden,
        Self::Damaged,
        Self::Quarantined,
        Self::Busy,
        Self::Conflict,
        Self::Clock,
        Self::Credit,
    ];
}

impl<C> Encode<C> for Refusal {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u32(*self as u32)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Refusal {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let code = d.u32()?;
        Ok(Self::ALL.into_iter().find(|known| *known as u32 == code).unwrap_or(Self::Other))
    }
}

/// A refusal with its explanation. The message is cut at [`MESSAGE_LEN_MAX`] bytes, between two
/// characters, and spaces take the place of control characters.
pub fn refused(reason: Refusal, message: impl Into<String>) -> Response {
    let mut message = message.into();
    if message.contains(char::is_control) {
        message = message.replace(char::is_control, " ");
    }
    message.truncate(message.floor_char_boundary(MESSAGE_LEN_MAX));
    Response::Refused { reason, message }
}
