//! A wrapped key that is not what the service gave is refused, whatever was done to it, and never for a passing reason.

use sealpoint::error::Kind;
use sealpoint::kms::WrappedKey;

use crate::cases::{Case, Needs};
use crate::client::Client;
use crate::fixture::{Fixture, ok, tenant};

pub const CASES: &[Case] = &[
    Case {
        name: "truncated_wrapped_key",
        what: "a wrapped key cut anywhere is refused",
        needs: Needs::Client,
        run: truncated,
    },
    Case {
        name: "extended_wrapped_key",
        what: "a wrapped key with a byte more, in front or behind, is refused",
        needs: Needs::Client,
        run: extended,
    },
    Case {
        name: "flipped_wrapped_key",
        what: "a wrapped key with a bit flipped anywhere is refused",
        needs: Needs::Client,
        run: flipped,
    },
    Case { name: "empty_wrapped_key", what: "a wrapped key of no bytes is refused", needs: Needs::Client, run: empty },
    Case { name: "huge_wrapped_key", what: "a wrapped key of 64 KiB is refused", needs: Needs::Client, run: huge },
];

/// More of them than this would only ask the server the same again.
const PLACES: usize = 24;

fn truncated(fixture: &Fixture) {
    each(fixture, |bytes| places(bytes.len()).map(|length| bytes[..length].to_vec()).collect());
}

fn extended(fixture: &Fixture) {
    each(fixture, |bytes| vec![[bytes, &[0]].concat(), [bytes, bytes].concat(), [&[0], bytes].concat()]);
}

fn flipped(fixture: &Fixture) {
    each(fixture, |bytes| {
        let flip = |place: usize| {
            let mut flipped = bytes.to_vec();
            flipped[place] ^= 1 << (place % 8);
            flipped
        };
        places(bytes.len()).map(flip).collect()
    });
}

fn empty(fixture: &Fixture) {
    each(fixture, |_| vec![Vec::new()]);
}

fn huge(fixture: &Fixture) {
    each(fixture, |bytes| vec![vec![0; 65_536], bytes.iter().copied().cycle().take(65_536).collect()]);
}

fn each(fixture: &Fixture, alter: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
    let (_, client) = fixture.fresh();
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    for bytes in alter(&wrapped.bytes) {
        refused(&client, WrappedKey { bytes, ..wrapped.clone() });
    }
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
}

fn refused(client: &Client, altered: WrappedKey) {
    let shown = format!("{} bytes: {:02x?}...", altered.bytes.len(), &altered.bytes[..altered.bytes.len().min(40)]);
    match client.unwrap(&altered, &tenant("a")) {
        Ok(_) => panic!("opened {shown}"),
        Err(error) => assert_eq!(error.kind(), Kind::WrappedKey, "{shown}: {error}"),
    }
}

/// Every place of a short text, a spread of a long one; always the first and the last.
fn places(length: usize) -> impl Iterator<Item = usize> {
    let step = length.div_ceil(PLACES).max(1);
    (0..length).step_by(step).chain([length - 1])
}
