//! A network that is slow, closed, silent, or not what it says it is; or a module, where there is none.

use std::net::TcpListener;

use sealpoint::Result;
use sealpoint::error::Kind;
use serde_json::json;

use crate::cases::{Case, Needs};
use crate::connect::{self, ConnectProxy};
use crate::fixture::{Fixture, fails, ok, tenant};
use crate::provider::{Pairs, pairs};
use crate::proxy::Tls;

pub const CASES: &[Case] = &[
    Case {
        name: "latency",
        what: "an answer that takes 5 s, where 3 s are allowed, is a time-out; where 20 s are allowed it is an answer",
        needs: Needs::Faults,
        run: latency,
    },
    Case {
        name: "refused",
        what: "a refused connection may pass, on the first call and on a later one; the error names the address",
        needs: Needs::Faults,
        run: refused,
    },
    Case {
        name: "silent",
        what: "a server that accepts and never answers is a time-out, before TLS begins and after a request; and so is a module that does not return",
        needs: Needs::Faults,
        run: silent,
    },
    Case {
        name: "unknown_issuer",
        what: "a certificate of an unknown issuer is refused for good, and the error names `kms.ca-file`",
        needs: Needs::Faults,
        run: unknown_issuer,
    },
    Case {
        name: "tls_1_1",
        what: "a server that speaks TLS 1.1 at most is refused for good",
        needs: Needs::Faults,
        run: tls_1_1,
    },
    Case {
        name: "through_a_proxy",
        what: "https goes through `kms.proxy`; a proxy that refuses, or is not there, is named as the reason, its password never",
        needs: Needs::Faults,
        run: through_a_proxy,
    },
    Case {
        name: "connecting_needs_no_network",
        what: "a client is made without a word to the service: an engine starts while it is dead",
        needs: Needs::Faults,
        run: connecting_needs_no_network,
    },
];

/// What succeeds within the limits of the client, unless the machine stands still for as long each time.
fn soon<T>(call: impl Fn() -> Result<T>) -> T {
    (0..4).find_map(|_| call().ok()).unwrap_or_else(|| ok(call()))
}

fn latency(fixture: &Fixture) {
    let key = fixture.service().new_key();
    let impatient =
        [fixture.settings(&key), pairs([("kms.connect-timeout", "3 s"), ("kms.attempt-timeout", "3 s")])].concat();
    let (patient, impatient) = (fixture.client(&fixture.settings(&key)), fixture.client(&impatient));
    let wrapped = ok(patient.wrap(&[7; 32], &tenant("a")));
    assert_eq!(soon(|| impatient.unwrap(&wrapped, &tenant("a"))), [7; 32]);
    fixture.inject(&key, json!({"delay": 5}));
    fails(impatient.unwrap(&wrapped, &tenant("a")), Kind::KmsTimeout);
    fails(impatient.data_key(&tenant("a")).map(|_| ()), Kind::KmsTimeout);
    assert_eq!(soon(|| patient.unwrap(&wrapped, &tenant("a"))), [7; 32]);
    fixture.clear(&key);
}

fn refused(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    fixture.network().close();
    let address = format!(":{}", fixture.network().port());
    fails(client.unwrap(&wrapped, &tenant("a")), Kind::KmsUnavailable);
    // The other client is of another key, which needs no network to refuse what was wrapped.
    for client in [&client, &fixture.client_by(fixture.network(), &pairs([]))] {
        let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::KmsUnavailable);
        assert!(error.message().contains(&address), "{error}");
        fails(client.current_version(), Kind::KmsUnavailable);
        fails(client.test_connection(), Kind::KmsUnavailable);
    }
}

fn silent(fixture: &Fixture) {
    let limits = pairs([("kms.connect-timeout", "3 s"), ("kms.attempt-timeout", "3 s"), ("kms.timeout", "10 s")]);
    if fixture.route().is_some() {
        let silent = fixture.silent();
        let client = fixture.client_by(&silent, &limits);
        fails(client.data_key(&tenant("a")).map(|_| ()), Kind::KmsTimeout);
    }
    let key = fixture.service().new_key();
    let client = fixture.client(&[fixture.settings(&key), limits].concat());
    let wrapped = soon(|| client.wrap(&[7; 32], &tenant("a")));
    fixture.inject(&key, json!({"hang": true}));
    fails(client.unwrap(&wrapped, &tenant("a")), Kind::KmsTimeout);
    fixture.clear(&key);
    assert_eq!(soon(|| client.unwrap(&wrapped, &tenant("a"))), [7; 32], "the next call does not wait for the last one");
}

fn unknown_issuer(fixture: &Fixture) {
    let route = fixture.listen(Tls::UnknownIssuer);
    let client = fixture.client_by(&route, &pairs([]));
    let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::Config);
    assert!(error.message().contains("kms.ca-file"), "{error}");
    assert!(route.counts().is_empty(), "nothing is told to a server that is not known: {:?}", route.counts());
}

fn tls_1_1(fixture: &Fixture) {
    let route = fixture.listen(Tls::Old);
    let client = fixture.client_by(&route, &pairs([]));
    let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::Config);
    assert!(error.message().contains("TLS"), "{error}");
    assert!(route.counts().is_empty(), "{:?}", route.counts());
}

fn through_a_proxy(fixture: &Fixture) {
    let port = fixture.network().port();
    let proxy = ConnectProxy::before(port);
    let settings = |proxy: &str| {
        let direct = fixture.settings(&fixture.service().new_key());
        // Nobody asks a proxy for this machine, and nobody but the proxy knows where that host is.
        let elsewhere =
            |value: String| value.replace(&format!("127.0.0.1:{port}"), &format!("key-service.test:{port}"));
        let mut settings: Pairs = direct.into_iter().map(|(key, value)| (key, elsewhere(value))).collect();
        settings.extend(pairs([("kms.proxy", proxy)]));
        settings
    };
    let client = fixture.client(&settings(&proxy.url()));
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    for head in asked {
        assert!(head.starts_with(&format!("CONNECT key-service.test:{port} HTTP/1.1\r\n")), "{head}");
        assert!(head.to_lowercase().contains(connect::CREDENTIALS), "{head}");
    }

    let told = |url: &str| {
        let client = fixture.client(&settings(url));
        let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::KmsUnavailable);
        assert!(error.message().contains("kms.proxy"), "{error}");
        assert!(!error.message().contains(connect::PASSWORD), "{error}");
    };
    let before = fixture.network().counts();
    for status in ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway"] {
        proxy.refuse(status);
        told(&proxy.url());
    }
    let nobody =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port on loopback");
    told(&format!("http://user:{}@{nobody}", connect::PASSWORD));
    assert_eq!(fixture.network().counts(), before, "nothing went past the proxy");
}

fn connecting_needs_no_network(fixture: &Fixture) {
    fixture.client(&fixture.settings(&fixture.service().new_key()));
    assert!(fixture.network().counts().is_empty(), "{:?}", fixture.network().counts());
}
