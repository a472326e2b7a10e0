//! What is wrapped opens again, in the same context, under the same key, and in no other way.

use std::sync::Arc;

use sealpoint::error::Kind;
use sealpoint::kms::KeySpec;

use crate::cases::{Case, Needs};
use crate::fixture::{Fixture, context, fails, ok, tenant};

pub const CASES: &[Case] = &[
    Case {
        name: "wrap_and_unwrap",
        what: "what was wrapped unwraps, the slot names provider, key and version, and no plaintext shows in it",
        needs: Needs::Client,
        run: wrap_and_unwrap,
    },
    Case {
        name: "data_keys",
        what: "data keys are 32 bytes, differ, and unwrap",
        needs: Needs::Client,
        run: data_keys,
    },
    Case {
        name: "wrong_context",
        what: "another, a larger, a smaller and an empty context are refused",
        needs: Needs::Client,
        run: wrong_context,
    },
    Case {
        name: "injective_context",
        what: "`{\"ab\": \"c\"}` does not open what was wrapped for `{\"a\": \"bc\"}`",
        needs: Needs::Client,
        run: injective_context,
    },
    Case { name: "wrong_key", what: "another key of the same service refuses", needs: Needs::Server, run: wrong_key },
    Case {
        name: "unknown_key",
        what: "a key that does not exist is an error, and does not come into being",
        needs: Needs::Server,
        run: unknown_key,
    },
    Case {
        name: "concurrency",
        what: "64 data keys at a time are drawn and opened",
        needs: Needs::Client,
        run: concurrency,
    },
];

fn wrap_and_unwrap(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let plaintext = [0x5a; 32];
    let wrapped = ok(client.wrap(&plaintext, &tenant("a")));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), plaintext);
    assert!(client.kms().opens(&wrapped.kek), "it opens what it says wrapped it: {}", wrapped.kek);
    assert!(!client.kms().opens("another"));
    assert_eq!(wrapped.version, ok(client.current_version()).id);
    assert!(!wrapped.bytes.windows(8).any(|window| window == &plaintext[..8]), "the plaintext is in there");
    assert!(wrapped.bytes.len() <= 8192, "a slot holds 8192 bytes, not {}", wrapped.bytes.len());
}

fn data_keys(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let drawn: Vec<_> = (0..3).map(|_| ok(client.data_key(&tenant("a")))).collect();
    for (plaintext, wrapped) in &drawn {
        assert_eq!(plaintext.len(), 32);
        assert_eq!(&ok(client.unwrap(wrapped, &tenant("a"))), plaintext);
        assert!(client.kms().opens(&wrapped.kek));
        assert_eq!(drawn.iter().filter(|(other, _)| other == plaintext).count(), 1, "no key comes twice");
        assert!(plaintext.iter().any(|byte| *byte != plaintext[0]));
    }
}

fn wrong_context(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let right = context([("sealpoint:tenant", "a"), ("env", "production")]);
    let wrapped = ok(client.wrap(&[7; 32], &right));
    for wrong in [
        context([("sealpoint:tenant", "b"), ("env", "production")]),
        context([("sealpoint:tenant", "a"), ("env", "production"), ("more", "")]),
        context([("sealpoint:tenant", "a")]),
        context([("sealpoint:tenant", "production"), ("env", "a")]),
        context([]),
    ] {
        fails(client.unwrap(&wrapped, &wrong), Kind::WrappedKey);
    }
    let (_, drawn) = ok(client.data_key(&right));
    fails(client.unwrap(&drawn, &tenant("a")), Kind::WrappedKey);
    assert_eq!(ok(client.unwrap(&wrapped, &right)), [7; 32]);
}

fn injective_context(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let wrapped = ok(client.wrap(&[7; 32], &context([("a", "bc")])));
    fails(client.unwrap(&wrapped, &context([("ab", "c")])), Kind::WrappedKey);
    let wrapped = ok(client.wrap(&[7; 32], &context([("a", "b"), ("c", "d")])));
    fails(client.unwrap(&wrapped, &context([("a", "bcd")])), Kind::WrappedKey);
    // Separators of whatever encoding stands between.
    let wrapped = ok(client.wrap(&[7; 32], &context([("a", "b"), ("c", "d=e&f,\"g\":\"h")])));
    fails(client.unwrap(&wrapped, &context([("a", "b"), ("c", "d=e&f"), ("g", "h")])), Kind::WrappedKey);
}

fn wrong_key(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let (_, other) = fixture.fresh();
    let mut wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    let theirs = ok(other.wrap(&[7; 32], &tenant("a")));
    assert_ne!(wrapped.kek, theirs.kek);
    assert!(!other.kms().opens(&wrapped.kek), "it does not open what another key wrapped");
    // A file that lies about the key.
    (wrapped.kek, wrapped.version) = (theirs.kek, theirs.version);
    fails(other.unwrap(&wrapped, &tenant("a")), Kind::WrappedKey);
}

fn unknown_key(fixture: &Fixture) {
    let settings = fixture.complete(&fixture.settings(&fixture.service().unknown_key()), fixture.route());
    for _ in 0..2 {
        // A client that looks at connecting is as good as one that looks at the first call.
        let attempt = || crate::client::Client::connect(&settings);
        fails(attempt().and_then(|client| client.data_key(&tenant("a"))).map(|_| ()), Kind::KeyNotFound);
        fails(attempt().and_then(|client| client.wrap(&[7; 32], &tenant("a"))), Kind::KeyNotFound);
        fails(attempt().and_then(|client| client.current_version()), Kind::KeyNotFound);
        fails(attempt().and_then(|client| client.test_connection()), Kind::KeyNotFound);
    }
}

fn concurrency(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let opened = client.run(|kms| async move {
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..64 {
            let kms = Arc::clone(&kms);
            calls.spawn(async move {
                let context = context([("number", number.to_string().as_str())]);
                let (drawn, wrapped) = kms.generate_data_key(KeySpec::Aes256, &context).await?;
                let opened = kms.decrypt(&wrapped, &context).await?;
                Ok::<bool, sealpoint::Error>(opened.expose() == drawn.expose())
            });
        }
        calls.join_all().await
    });
    for same in opened {
        assert!(ok(same), "it opens to what was drawn");
    }
}
