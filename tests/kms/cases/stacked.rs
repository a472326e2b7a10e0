//! The client as the engine has it, with everything of ours over it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sealpoint::error::Kind;
use serde_json::json;

use crate::cases::{Case, Needs};
use crate::client::Client;
use crate::fixture::{Fixture, fails, ok, tenant};

pub const CASES: &[Case] = &[
    Case {
        name: "stacked_round_trip",
        what: "everything goes through our stack as it does without it",
        needs: Needs::Client,
        run: round_trip,
    },
    Case {
        name: "stacked_throttling",
        what: "our stack tries again when it was throttled, and succeeds with the third request",
        needs: Needs::Faults,
        run: throttling,
    },
    Case {
        name: "stacked_unavailability",
        what: "our stack tries again after a 503 and after a connection that broke off",
        needs: Needs::Faults,
        run: unavailability,
    },
    Case {
        name: "stacked_refusal",
        what: "what is refused for good is not tried again",
        needs: Needs::Faults,
        run: refusal,
    },
    Case {
        name: "stacked_single_flight",
        what: "64 unwraps of one data key at the same time are one request",
        needs: Needs::Faults,
        run: single_flight,
    },
    Case {
        name: "stacked_outage",
        what: "a service that was away is used again once it is back",
        needs: Needs::Faults,
        run: outage,
    },
];

fn round_trip(fixture: &Fixture) {
    let client = stacked(fixture);
    let (plaintext, drawn) = ok(client.data_key(&tenant("a")));
    assert_eq!(ok(client.unwrap(&drawn, &tenant("a"))), plaintext);
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    fails(client.unwrap(&wrapped, &tenant("b")), Kind::WrappedKey);
    let new = ok(client.rewrap(&wrapped, &tenant("a")));
    assert_eq!(ok(client.unwrap(&new, &tenant("a"))), [7; 32]);
    assert_eq!(ok(client.current_version()).id, new.version);
    assert_eq!(ok(client.versions()).last().map(|version| version.id.clone()), Some(new.version));
    assert!(client.kms().opens(&new.kek));
    ok(client.test_connection());
}

fn throttling(fixture: &Fixture) {
    let client = stacked(fixture);
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    let request = fixture.service().unwrap_request();
    // A first wrap may have cost an unwrap, to learn the version.
    let before = fixture.network().count(request);
    fixture.network().inject_into(request, 2, fixture.service().throttled(1));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
    assert_eq!(fixture.network().count(request) - before, 3, "{:?}", fixture.network().counts());
}

fn unavailability(fixture: &Fixture) {
    let client = stacked(fixture);
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    let request = fixture.service().unwrap_request();
    let before = fixture.network().count(request);
    fixture.network().inject_into(request, 1, json!({"status": 503, "body": "{}"}));
    fixture.network().inject_into(request, 1, json!({"cut": true}));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
    assert_eq!(fixture.network().count(request) - before, 3, "{:?}", fixture.network().counts());
}

fn refusal(fixture: &Fixture) {
    let client = stacked(fixture);
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    let request = fixture.service().unwrap_request();
    let before = fixture.network().count(request);
    fails(client.unwrap(&wrapped, &tenant("b")), Kind::WrappedKey);
    assert_eq!(fixture.network().count(request) - before, 1, "{:?}", fixture.network().counts());
}

fn single_flight(fixture: &Fixture) {
    let client = stacked(fixture);
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    let request = fixture.service().unwrap_request();
    let before = fixture.network().count(request);
    fixture.network().inject(json!({"delay": 1}));
    let opened = client.run(|kms| async move {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (kms, wrapped) = (Arc::clone(&kms), wrapped.clone());
            calls.spawn(async move { kms.decrypt(&wrapped, &tenant("a")).await });
        }
        calls.join_all().await
    });
    for secret in opened {
        assert_eq!(ok(secret).expose(), [7; 32]);
    }
    assert_eq!(fixture.network().count(request) - before, 1, "{:?}", fixture.network().counts());
}

fn outage(fixture: &Fixture) {
    let client = stacked(fixture);
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    fixture.network().inject(json!({"drop": true}));
    for _ in 0..6 {
        fails(client.unwrap(&wrapped, &tenant("a")), Kind::KmsUnavailable);
    }
    fixture.network().clear();
    // A breaker lets a trial through every now and then.
    for _ in 0..600 {
        match client.unwrap(&wrapped, &tenant("a")) {
            Ok(plaintext) => return assert_eq!(plaintext, [7; 32]),
            Err(error) => assert_eq!(error.kind(), Kind::KmsUnavailable, "{error}"),
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("it is still said to be away");
}

fn stacked(fixture: &Fixture) -> Client {
    let settings = fixture.settings(&fixture.service().new_key());
    ok(Client::stacked(&fixture.complete(&settings, fixture.route())))
}
