//! What the service answers when it is not well. A broken answer is one that may pass; a wrong one never becomes a key.

use std::time::Duration;

use sealpoint::config::EncryptionConfig;
use sealpoint::engine::EncryptionEngine;
use sealpoint::error::{Error, Kind};
use serde_json::{Value, json};

use crate::cases::{Case, Needs};
use crate::fixture::{Fixture, fails, ok, tenant};

pub const CASES: &[Case] = &[
    Case {
        name: "engine",
        what: "what one engine seals another opens, with one unwrap for many streams",
        needs: Needs::Client,
        run: engine,
    },
    Case {
        name: "wrong_lengths",
        what: "a service that answers with a key of 33, 31 or no bytes is refused: nothing is sealed or opened by it",
        needs: Needs::Faults,
        run: wrong_lengths,
    },
    Case {
        name: "rate_limit",
        what: "throttling is told as such, with the pause that the service asked for",
        needs: Needs::Faults,
        run: rate_limit,
    },
    Case {
        name: "status_500",
        what: "an internal error of the service is one that may pass",
        needs: Needs::Faults,
        run: |fixture| passing(fixture, json!({"status": 500, "body": "{}"})),
    },
    Case {
        name: "status_503",
        what: "a service that is away is one that may pass, whoever says so: a load balancer speaks no JSON",
        needs: Needs::Faults,
        run: |fixture| {
            passing(fixture, json!({"status": 503, "headers": {"Content-Type": "text/html"}, "body": "<h1>away</h1>"}));
        },
    },
    Case {
        name: "half_answer",
        what: "an answer that breaks off may pass",
        needs: Needs::Faults,
        run: |fixture| passing(fixture, json!({"cut": true})),
    },
    Case {
        name: "garbled_answer",
        what: "half an answer that claims to be whole may pass, and no half of a key is taken for one",
        needs: Needs::Faults,
        run: |fixture| passing(fixture, json!({"truncate": true})),
    },
    Case {
        name: "dropped_request",
        what: "a connection that is closed without an answer may pass",
        needs: Needs::Faults,
        run: |fixture| passing(fixture, json!({"drop": true})),
    },
];

fn engine(fixture: &Fixture) {
    let settings = fixture.complete(&fixture.settings(&fixture.service().new_key()), fixture.route());
    let open = || EncryptionEngine::open(ok(EncryptionConfig::from_pairs(settings.iter().cloned())));
    let (first, second) = (ok(open()), ok(open()));
    let sealed = ok(seal(&first));
    let unwraps = || fixture.route().map(|route| route.count(fixture.service().unwrap_request()));
    let before = unwraps();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(ok(unseal(&second, &sealed)), b"state"));
        }
    });
    assert_eq!(unwraps(), before.map(|count| count + 1), "one unwrap for one data key");
}

fn wrong_lengths(fixture: &Fixture) {
    let key = fixture.service().new_key();
    let settings = fixture.complete(&fixture.settings(&key), fixture.route());
    let open = || ok(EncryptionEngine::open(ok(EncryptionConfig::from_pairs(settings.iter().cloned()))));
    let sealed = ok(seal(&open()));
    for length in [33, 31, 0] {
        fixture.inject(&key, fixture.service().plaintext_answer(&vec![7; length]));
        fails(unseal(&open(), &sealed), Kind::WrappedKey);
        if fixture.service().draws() {
            fails(seal(&open()), Kind::WrappedKey);
        }
        fixture.clear(&key);
    }
    assert_eq!(ok(unseal(&open(), &sealed)), b"state");
}

fn rate_limit(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    fixture.network().inject(fixture.service().throttled(7));
    let pause = fixture.service().tells_the_pause().then_some(Duration::from_secs(7));
    let error = fails(client.unwrap(&wrapped, &tenant("a")), Kind::KmsThrottled);
    assert_eq!(error.retry_after(), pause, "{error}");
    let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::KmsThrottled);
    assert_eq!(error.retry_after(), pause, "{error}");
    fixture.network().clear();
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
}

/// While this happens to every request the service is away, and right afterwards it is well again.
fn passing(fixture: &Fixture, action: Value) {
    let (_, client) = fixture.fresh();
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    fixture.network().inject(action);
    for _ in 0..2 {
        fails(client.unwrap(&wrapped, &tenant("a")), Kind::KmsUnavailable);
        fails(client.data_key(&tenant("a")).map(|_| ()), Kind::KmsUnavailable);
        fails(client.test_connection(), Kind::KmsUnavailable);
    }
    fixture.network().clear();
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
}

fn seal(engine: &EncryptionEngine) -> Result<Vec<u8>, Error> {
    engine.encrypt("file", b"state")
}

fn unseal(engine: &EncryptionEngine, sealed: &[u8]) -> Result<Vec<u8>, Error> {
    engine.decrypt("file", sealed)
}
