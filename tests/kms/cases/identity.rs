//! Who we are, what we may, and what time it is.

use sealpoint::error::Kind;
use sealpoint::kms::Need;

use crate::cases::{Case, Needs};
use crate::fixture::{Fixture, fails, ok, tenant};

pub const CASES: &[Case] = &[
    Case {
        name: "probe",
        what: "a client that may do everything finds nothing missing, and trying leaves no trace",
        needs: Needs::Client,
        run: probe,
    },
    Case {
        name: "expired_credentials",
        what: "expired credentials are told as such, and are no reason to try again",
        needs: Needs::Server,
        run: expired_credentials,
    },
    Case {
        name: "clock_skew",
        what: "clocks a day apart do no harm, or are told as what they are",
        needs: Needs::Faults,
        run: clock_skew,
    },
    Case {
        name: "permissions",
        what: "for each permission that is taken away the probe names it, and finds the others in order",
        needs: Needs::Server,
        run: permissions,
    },
];

fn probe(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let before = ok(client.versions());
    let probes = client.probe();
    assert!(!probes.is_empty());
    for probe in probes {
        ok(probe.outcome.map_err(|error| error.at(probe.permission)));
    }
    ok(client.test_connection());
    assert_eq!(ok(client.versions()), before);
}

fn expired_credentials(fixture: &Fixture) {
    let (key, _) = fixture.fresh();
    let client = fixture.client(&fixture.service().expired(&key, fixture.route()));
    fails(client.data_key(&tenant("a")).map(|_| ()), Kind::Credentials);
    fails(client.wrap(&[7; 32], &tenant("a")), Kind::Credentials);
    fails(client.test_connection(), Kind::Credentials);
}

fn clock_skew(fixture: &Fixture) {
    let key = fixture.service().new_key();
    let expected = fixture.service().skew(fixture.route());
    let client = fixture.client(&fixture.settings(&key));
    match expected {
        Ok(()) => {
            let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
            assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
        }
        Err(kind) => {
            let error = fails(client.data_key(&tenant("a")).map(|_| ()), kind);
            assert!(error.message().contains("clock"), "the error says where to look: {error}");
        }
    }
}

fn permissions(fixture: &Fixture) {
    let (key, _) = fixture.fresh();
    let denials = fixture.service().denials(&key, fixture.route());
    assert!(!denials.is_empty());
    for (permission, settings) in denials {
        let client = fixture.client(&settings);
        let probes = client.probe();
        let tried = probes.iter().find(|probe| probe.permission == permission);
        match tried.map(|probe| probe.need) {
            Some(Need::Data) => {
                let error = fails(client.test_connection(), Kind::AccessDenied);
                assert!(error.message().contains(&permission), "'{error}' names {permission}");
            }
            Some(Need::Fallback | Need::Care) => ok(client.test_connection()),
            None => panic!("{permission} is not tried: {probes:?}"),
        }
        for probe in probes {
            let denied = probe.outcome.as_ref().is_err_and(|error| error.kind() == Kind::AccessDenied);
            assert_eq!(denied, probe.permission == permission, "without {permission}: {probe:?}");
        }
    }
}
