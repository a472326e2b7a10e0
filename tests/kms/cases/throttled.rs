//! The command-line tool while a key service throttles: what takes hours sits that out, and loses nothing.

use std::process::{Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::cases::tool::Tool;
use crate::cases::{Case, Needs};
use crate::fixture::{Fixture, ok, tenant};

/// For how many seconds; `make soak` sets it.
const VARIABLE: &str = "SOAK_THROTTLED";
const FILES: [&str; 3] = ["a", "b", "c"];

pub const CASES: &[Case] = &[
    Case {
        name: "throttled_for_a_while",
        what: "`sealpoint rewrap` and `sealpoint reencrypt` sit out a service that throttles: nothing is lost, and they succeed",
        needs: Needs::Faults,
        run: for_a_while,
    },
    Case {
        name: "throttled_for_too_long",
        what: "where a service throttles for longer than `--patience` they say so and change nothing; run again, they go on; \
               `sealpoint verify` and `sealpoint retire` say so too",
        needs: Needs::Faults,
        run: for_too_long,
    },
];

/// Files under a data key each, and a version that came after them; `rewrap` of them, and `reencrypt`; the name of the
/// version that they are under.
fn prepared(fixture: &Fixture) -> (Tool, [Vec<String>; 2], String) {
    let (key, client) = fixture.fresh();
    let name = format!("{}@{}", ok(client.kek()), ok(client.wrap(&[7; 32], &tenant("a"))).version);
    let tool = Tool::new(fixture, &key);
    // So that the retries of a single call do not sit it out already.
    tool.configure("kms.attempts = 2\n");
    FILES.iter().for_each(|name| tool.seal(&format!("store/{name}")));
    fixture.service().rotate(&key);
    let (store, new) = (tool.path("store"), tool.path("new"));
    (tool, [vec!["rewrap".into(), store.clone()], vec!["reencrypt".into(), store, new]], name)
}

fn all_open(tool: &Tool, folder: &str) {
    FILES.iter().for_each(|name| drop(tool.run(0, &["open", "--verify", &tool.path(&format!("{folder}/{name}"))])));
}

fn for_a_while(fixture: &Fixture) {
    let seconds = std::env::var(VARIABLE).map_or(3, |text| text.parse().expect("a number of seconds"));
    let (tool, commands, _) = prepared(fixture);
    for command in commands {
        let before: u64 = fixture.network().counts().values().sum();
        fixture.network().inject(fixture.service().throttled(1));
        let mut sealpoint = tool.sealpoint();
        sealpoint.args(&command).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = sealpoint.spawn().expect("the tool was built with this test");
        // The time counts from the first request that was refused.
        while fixture.network().counts().values().sum::<u64>() == before {
            assert!(running.try_wait().expect("a child of ours").is_none(), "{command:?} asks the key service");
            sleep(Duration::from_millis(20));
        }
        sleep(Duration::from_secs(seconds));
        assert!(running.try_wait().expect("a child of ours").is_none(), "{command:?} waits for {seconds} s");
        fixture.network().clear();
        let Output { status, stdout, stderr } = running.wait_with_output().expect("a child of ours");
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert_eq!(status.code(), Some(0), "{command:?}: {said}");
    }
    assert!(tool.run(0, &["rewrap", "--dry-run", &tool.path("store")]).contains("0 to renew, 3 current, 0 failed"));
    all_open(&tool, "store");
    all_open(&tool, "new");
}

fn for_too_long(fixture: &Fixture) {
    let (tool, commands, name) = prepared(fixture);
    tool.checkpoint("chk-1");
    fixture.network().inject(fixture.service().throttled(1));
    for command in [&["verify", &tool.path("chk-1")][..], &["retire", &name, &tool.path("store")]] {
        let said = tool.run(1, command);
        assert!(said.contains("vault at https://127.0.0.1:") && said.contains("429"), "{command:?}: {said}");
    }
    fixture.network().clear();
    tool.run(0, &["verify", &tool.path("chk-1")]);
    for command in commands {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        fixture.network().inject(fixture.service().throttled(1));
        let said = tool.run(1, &[&command[..], &["--patience", "1 s"]].concat());
        for words in ["vault at https://127.0.0.1:", "429", "run the same again"] {
            assert!(said.contains(words), "{words} in {said}");
        }
        fixture.network().clear();
        all_open(&tool, "store");
        tool.run(0, &command);
    }
    all_open(&tool, "new");
}
