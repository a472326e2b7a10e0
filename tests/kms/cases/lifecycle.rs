//! Keys and their versions: disabled, rotated, scheduled for deletion, gone.

use std::thread;
use std::time::{Duration, SystemTime};

use sealpoint::error::Kind;
use sealpoint::kms::Destruction;

use crate::cases::{Case, Needs};
use crate::client::Client;
use crate::fixture::{Fixture, fails, is_recent, ok, tenant};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

pub const CASES: &[Case] = &[
    Case {
        name: "disabled_key",
        what: "a disabled key neither wraps nor unwraps, and does both once it is enabled again",
        needs: Needs::Server,
        run: disabled_key,
    },
    Case {
        name: "pending_deletion",
        what: "a key that is scheduled for deletion is told from one that never was",
        needs: Needs::Server,
        run: pending_deletion,
    },
    Case {
        name: "rotated_at_the_server",
        what: "after a rotation the new version wraps, and the old one still opens",
        needs: Needs::Server,
        run: rotated_at_the_server,
    },
    Case {
        name: "rotated_by_us",
        what: "rotating by our client gives a new current version, and the old one still opens",
        needs: Needs::Server,
        run: rotated_by_us,
    },
    Case {
        name: "disabled_version",
        what: "an old version that is disabled no longer opens, until it is enabled again",
        needs: Needs::Server,
        run: disabled_version,
    },
    Case {
        name: "disabled_version_by_us",
        what: "our client disables and enables an old version",
        needs: Needs::Server,
        run: disabled_version_by_us,
    },
    Case {
        name: "destroyed_version",
        what: "a version that is gone for good is an error of its own",
        needs: Needs::Server,
        run: destroyed_version,
    },
    Case {
        name: "destroyed_by_us",
        what: "our client destroys a key with all its versions, or has that scheduled: nothing under it opens any more",
        needs: Needs::Server,
        run: destroyed_by_us,
    },
    Case {
        name: "destroying_denied",
        what: "who may look after a key may not destroy it by that, and is told the permission",
        needs: Needs::Server,
        run: destroying_denied,
    },
    Case {
        name: "current_version",
        what: "the current version of a fresh key was made just now, by the service's word",
        needs: Needs::Server,
        run: current_version,
    },
    Case {
        name: "versions_in_order",
        what: "all versions are listed, oldest first, the current one last",
        needs: Needs::Server,
        run: versions_in_order,
    },
    Case {
        name: "automatic_rotation",
        what: "a key that the service is set to rotate by itself is told from one that it is not",
        needs: Needs::Server,
        run: automatic_rotation,
    },
    Case {
        name: "rewrap",
        what: "a wrapped key is wrapped anew under the current version, inside the service where it can",
        needs: Needs::Server,
        run: rewrap,
    },
];

fn disabled_key(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    fixture.service().set_enabled(&key, false);
    fails(client.unwrap(&wrapped, &tenant("a")), Kind::KeyDisabled);
    fails(client.data_key(&tenant("a")).map(|_| ()), Kind::KeyDisabled);
    fails(client.wrap(&[7; 32], &tenant("a")), Kind::KeyDisabled);
    fails(client.test_connection(), Kind::KeyDisabled);
    fixture.service().set_enabled(&key, true);
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
    ok(client.data_key(&tenant("a")));
}

fn pending_deletion(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    fixture.service().schedule_deletion(&key);
    fails(client.unwrap(&wrapped, &tenant("a")), Kind::KeyPendingDeletion);
    fails(client.data_key(&tenant("a")).map(|_| ()), Kind::KeyPendingDeletion);
}

fn rotated_at_the_server(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let old = ok(client.wrap(&[7; 32], &tenant("a")));
    fixture.service().rotate(&key);
    let new = ok(client.wrap(&[8; 32], &tenant("a")));
    assert_ne!(old.version, new.version);
    assert_eq!(ok(client.current_version()).id, new.version);
    assert_eq!(ok(client.unwrap(&old, &tenant("a"))), [7; 32]);
    assert_eq!(ok(client.unwrap(&new, &tenant("a"))), [8; 32]);
}

fn rotated_by_us(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let old = ok(client.wrap(&[7; 32], &tenant("a")));
    let version = ok(client.rotate());
    assert_ne!(version.id, old.version);
    assert!(version.enabled && is_recent(version.created_at), "{version:?}");
    assert_eq!(ok(client.wrap(&[8; 32], &tenant("a"))).version, version.id);
    assert_eq!(ok(client.current_version()).id, version.id);
    assert_eq!(ok(client.unwrap(&old, &tenant("a"))), [7; 32]);
}

fn disabled_version(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let old = ok(client.wrap(&[7; 32], &tenant("a")));
    fixture.service().rotate(&key);
    let new = ok(client.wrap(&[8; 32], &tenant("a")));
    fixture.service().set_version_enabled(&key, &old.version, false);
    fails(client.unwrap(&old, &tenant("a")), Kind::KeyDisabled);
    assert_eq!(ok(client.unwrap(&new, &tenant("a"))), [8; 32]);
    fixture.service().set_version_enabled(&key, &old.version, true);
    assert_eq!(ok(client.unwrap(&old, &tenant("a"))), [7; 32]);
}

fn disabled_version_by_us(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let old = ok(client.wrap(&[7; 32], &tenant("a")));
    fixture.service().rotate(&key);
    ok(client.set_version_enabled(&old.version, false));
    fails(client.unwrap(&old, &tenant("a")), Kind::KeyDisabled);
    let listed = ok(client.versions());
    assert!(listed.iter().all(|version| version.enabled == (version.id != old.version)), "{listed:?}");
    ok(client.set_version_enabled(&old.version, true));
    assert_eq!(ok(client.unwrap(&old, &tenant("a"))), [7; 32]);
    assert!(ok(client.versions()).iter().all(|version| version.enabled));
}

fn destroyed_version(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let old = ok(client.wrap(&[7; 32], &tenant("a")));
    fixture.service().rotate(&key);
    fixture.service().destroy_version(&key, &old.version);
    fails(client.unwrap(&old, &tenant("a")), Kind::KeyVersionNotFound);
    ok(client.data_key(&tenant("a")));
}

fn destroyed_by_us(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let (_, bystander) = fixture.fresh();
    let kept = ok(bystander.wrap(&[9; 32], &tenant("b")));
    let old = ok(client.wrap(&[7; 32], &tenant("a")));
    fixture.service().rotate(&key);
    let new = ok(client.wrap(&[8; 32], &tenant("a")));
    assert_eq!((ok(client.kek()), &old.kek), (new.kek.clone(), &new.kek), "the key goes by one name");
    let gone = match ok(client.schedule_destruction(MONTH)) {
        Destruction::Done => Kind::KeyNotFound,
        Destruction::Scheduled { at, undo } => {
            assert!(at.is_some_and(|at| at > SystemTime::now() + MONTH / 2), "{at:?}");
            assert!(undo.len() > 20, "it says how to take that back: {undo}");
            Kind::KeyPendingDeletion
        }
    };
    for wrapped in [&old, &new] {
        fails(client.unwrap(wrapped, &tenant("a")), gone);
    }
    fails(client.data_key(&tenant("a")).map(|_| ()), gone);
    match client.schedule_destruction(MONTH) {
        Ok(again) => assert!(gone == Kind::KeyPendingDeletion && again != Destruction::Done, "{again:?}"),
        Err(error) => assert_eq!((error.kind(), gone), (Kind::KeyNotFound, Kind::KeyNotFound), "{error}"),
    }
    assert_eq!(ok(bystander.unwrap(&kept, &tenant("b"))), [9; 32]);
}

fn destroying_denied(fixture: &Fixture) {
    let key = fixture.service().new_key();
    let (permission, settings) = fixture.service().caretaker(&key, fixture.route());
    let client = fixture.client(&settings);
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    ok(client.rotate());
    let error = fails(client.schedule_destruction(MONTH), Kind::AccessDenied);
    assert!(error.message().contains(&permission), "{permission}: {error}");
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
}

fn current_version(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let version = ok(client.current_version());
    assert!(version.enabled && !version.id.is_empty());
    assert!(is_recent(version.created_at), "{version:?}");
}

fn versions_in_order(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let mut made = vec![ok(client.current_version()).id];
    for _ in 0..2 {
        // Some services tell the time of a version in whole seconds only.
        thread::sleep(Duration::from_millis(1_100));
        fixture.service().rotate(&key);
        made.push(ok(client.current_version()).id);
    }
    let listed = ok(client.versions());
    assert_eq!(listed.iter().map(|version| version.id.clone()).collect::<Vec<_>>(), made);
    assert!(listed.windows(2).all(|pair| pair[0].created_at <= pair[1].created_at), "{listed:?}");
    assert!(listed.iter().all(|version| version.enabled && is_recent(version.created_at)), "{listed:?}");
}

/// By the whole stack, which must let the question through.
fn automatic_rotation(fixture: &Fixture) {
    const DAYS: u32 = 120;
    let key = fixture.service().new_key();
    let client = ok(Client::stacked(&fixture.complete(&fixture.settings(&key), fixture.route())));
    assert_eq!(ok(client.automatic_rotation()), None);
    let days = fixture.service().rotate_every(&key, DAYS);
    assert_eq!(ok(client.automatic_rotation()), Some(Duration::from_secs(u64::from(days) * 24 * 3600)));
}

fn rewrap(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let old = ok(client.wrap(&[7; 32], &tenant("a")));
    fixture.service().rotate(&key);
    let unwraps = || fixture.route().map_or(0, |route| route.count(fixture.service().unwrap_request()));
    let before = unwraps();
    let new = ok(client.rewrap(&old, &tenant("a")));
    if let Some(request) = fixture.service().rewrap_request() {
        assert_eq!((fixture.network().count(request), unwraps()), (1, before), "inside the service");
    }
    assert_ne!((&new.version, &new.bytes), (&old.version, &old.bytes));
    assert_eq!(new.version, ok(client.current_version()).id);
    assert_eq!(ok(client.unwrap(&new, &tenant("a"))), [7; 32]);
    fails(client.unwrap(&new, &tenant("b")), Kind::WrappedKey);
    fails(client.rewrap(&old, &tenant("b")), Kind::WrappedKey);
}
