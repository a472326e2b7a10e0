//! Every command of the runbooks in docs/OPERATIONS.md, run as it stands there.

use std::fs;

use crate::fixture::{Fixture, key_of};

/// The commands of a section, with the names of this test for those of the document.
fn commands(section: &str, names: &[(&str, &str)], fixture: &Fixture) -> Vec<Vec<String>> {
    let text = fs::read_to_string("docs/OPERATIONS.md").unwrap();
    let (_, rest) = text.split_once(&format!("## {section}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let commands = section.lines().filter_map(|line| line.trim().strip_prefix("$ sealpoint "));
    let local = |word: &str| {
        let word = word.replace("s3://bucket", &fixture.place(""));
        names.iter().fold(word, |word, (theirs, ours)| word.replace(theirs, ours))
    };
    commands.map(|command| command.split(' ').map(local).collect()).collect()
}

/// Runs them one after the other, each of which is to end as it is told here.
fn run(fixture: &Fixture, commands: &[Vec<String>], codes: &[i32]) {
    assert_eq!(commands.len(), codes.len(), "{commands:?}");
    for (command, code) in commands.iter().zip(codes) {
        fixture.run(&command.iter().map(String::as_str).collect::<Vec<_>>()).ended(*code, &[]);
    }
}

/// A file in each of the places that the runbooks name.
fn seal(fixture: &Fixture, below: &str) {
    let engine = fixture.engine();
    for place in ["checkpoints", "savepoints", "ha"] {
        fixture.seal(&engine, &format!("{place}/{below}/f"), b"state");
    }
}

#[test]
fn retirement() {
    let fixture = Fixture::new(&["common"]);
    fixture.configure("data-key.max-age = '1 s'\noutage.seal-for = '0 s'\n");
    seal(&fixture, "job");
    fixture.rotate("common");
    let commands = commands("Retirement", &[("flink-state@3", "key-of-common@1")], &fixture);
    run(&fixture, &commands[..4], &[3, 0, 0, 0]);
    assert!(!fixture.is_enabled("common", 1));
    fixture.run(&["open", "--verify", &fixture.place("savepoints/job/f")]).ended(0, &["verified"]);
    run(&fixture, &commands[4..], &[0]);
    assert!(fixture.is_enabled("common", 1));
}

#[test]
fn lost_key_service() {
    let fixture = Fixture::new(&["common", "kept", "new"]);
    let keyring = fixture.path("keyring").display().to_string();
    let configure = |primary: &str, fallback: &str| {
        let text = format!(
            "kms.provider = 'local'\nkms.local.keyring = '{keyring}'\nkms.local.key = '{}'\n\
             kms.fallbacks = 'other'\nkms.require = 'all'\nkms.fallback.other.local.key = '{}'\n",
            key_of(primary),
            key_of(fallback)
        );
        fs::write(fixture.path("sealpoint.toml"), text).unwrap();
    };
    configure("common", "kept");
    seal(&fixture, "job");
    configure("kept", "new");
    let commands = commands("Lost key service", &[("lost-state", &key_of("common"))], &fixture);
    run(&fixture, &commands, &[0, 0, 0, 0]);
    let rows = fixture.run(&["report", "--json", &fixture.place("")]).ended(0, &[]).json()["rows"].clone();
    let files = |tenant: &str| {
        let mut rows = rows.as_array().unwrap().iter().filter(|row| row["key"] == key_of(tenant).as_str());
        rows.next().map(|row| (row["state"].clone(), row["files"].as_u64().unwrap()))
    };
    assert_eq!(files("common"), Some(("not configured".into(), 3)));
    assert_eq!((files("kept").unwrap().1, files("new").unwrap().1), (3, 3));
    // What only the lost one opens is named.
    configure("common", "common");
    fixture.seal(&fixture.engine(), "ha/later", b"state");
    configure("kept", "new");
    let needs: Vec<&str> = commands[1].iter().map(String::as_str).collect();
    fixture.run(&needs).ended(3, &["/ha/later"]);
}

#[test]
fn shredding_a_tenant() {
    let fixture = Fixture::new(&["common", "payments"]);
    let places = ["checkpoints", "savepoints", "ha"].map(|place| fixture.place(&format!("{place}/payments")));
    let config = fs::read_to_string(fixture.path("sealpoint.toml")).unwrap();
    let (common, _) = config.split_once("tenants.").unwrap();
    let own =
        format!("tenants.payments.key = '{}'\ntenants.payments.paths = '{}'\n", key_of("payments"), places.join(","));
    fs::write(fixture.path("sealpoint.toml"), format!("{common}{own}")).unwrap();
    seal(&fixture, "payments");
    seal(&fixture, "others");
    let commands = commands("Shredding a tenant", &[], &fixture);
    run(&fixture, &commands[..2], &[0, 0]);
    assert!(!fixture.has_key("payments"));
    fs::write(fixture.path("sealpoint.toml"), common).unwrap();
    run(&fixture, &commands[2..], &[0]);
    fixture.run(&["open", "--verify", &fixture.place("ha/others/f")]).ended(0, &["verified"]);
    fixture.run(&["open", "--verify", &fixture.place("ha/payments/f")]).ended(1, &["tenant 'payments'"]);
}
