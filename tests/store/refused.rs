//! What the tool says of a store that refuses it, or cannot be reached: what is wrong, in words, by its exit status.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

use sealpoint::lifecycle::rewrap::Options;
use serde_json::json;

use crate::proxy::Tls;
use crate::rewrap::fixture::Site;
use crate::rewrap::site;
use crate::servers::{Fixture, Variable};

/// A run of the tool that is under way.
pub struct Run {
    arguments: Vec<String>,
    child: Child,
}

impl Run {
    /// With these variables set otherwise; an empty value takes one away.
    pub fn start(site: &Site, changes: &[Variable], arguments: &[&str]) -> Run {
        let mut command = site.command(arguments);
        for (name, value) in changes {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Run { arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(), child }
    }

    /// It ended so, and said these words; what it said.
    #[track_caller]
    pub fn ended(self, code: i32, words: &[&str]) -> String {
        let output = self.child.wait_with_output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{:?}: {said}", self.arguments);
        for word in words {
            assert!(said.contains(word), "'{word}' is not in what {:?} said: {said}", self.arguments);
        }
        said
    }
}

fn rotated(fixture: &Fixture) -> Site {
    let site = site(fixture);
    site.job("job", 1);
    site.rotate("sealpoint");
    site
}

/// In a bucket that is not there, without encryption on the way, or as somebody who is not known.
pub fn refused_tool(fixture: &Fixture) {
    let site = rotated(fixture);
    let [_, allow_http] = fixture.service.address_names;
    let bucket = fixture.root.uri().replace("://checkpoints", "://no-such-bucket");
    let rewrap = |changes: &[Variable]| Run::start(&site, changes, &["rewrap", "store"]);
    let unknown = Run::start(&site, &[], &["rewrap", &bucket]);
    let in_clear = rewrap(&[(allow_http, String::new())]);
    let wrong = rewrap(&fixture.wrong_credentials());
    unknown.ended(1, &["no-such-bucket", "check its name"]);
    in_clear.ended(2, &[allow_http]);
    let said = wrong.ended(1, &["the credentials are not accepted"]);
    assert!(!said.contains("hunter2") && !said.contains("aHVudGVy"), "{said}");
    assert!(site.sidecars().is_empty());
    assert_eq!(site.unopened(), Vec::<String>::new());
}

/// At a wrong address, in a wrong region or none, and in an environment that holds no credentials and leads to none.
pub fn nowhere_and_nobody(fixture: &Fixture) {
    let site = rotated(fixture);
    let home = tempfile::tempdir().unwrap();
    let nobody = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name, String::new()));
    let alone = [("HOME", home.path().display().to_string()), ("AWS_EC2_METADATA_DISABLED", "true".to_owned())];
    // The near end of a connection: nobody listens there, and nobody can begin to.
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(far.local_addr().unwrap()).unwrap();
    // Side by side, since one waits for a while.
    let unreachable = ("AWS_ENDPOINT_URL", format!("http://{}", near.local_addr().unwrap()));
    let unreachable = Run::start(&site, &[unreachable], &["rewrap", "store"]);
    let nobody = Run::start(&site, &[&nobody[..], &alone].concat(), &["rewrap", "store"]);
    let elsewhere = Run::start(&site, &[("AWS_REGION", "eu-north-9".to_owned())], &["rewrap", "store"]);
    let nowhere = ["AWS_REGION", "AWS_ENDPOINT_URL"].map(|name| (name, String::new()));
    let nowhere = Run::start(&site, &[&nowhere[..], &alone].concat(), &["rewrap", "store"]);
    unreachable.ended(1, &["cannot be reached", &site.place("store").uri()]);
    nobody.ended(1, &["the environment holds no credentials", "AWS_ACCESS_KEY_ID"]);
    elsewhere.ended(1, &["the bucket is in another region", "AWS_REGION=us-east-1"]);
    nowhere.ended(2, &["AWS_REGION"]);
    assert!(site.sidecars().is_empty());
}

/// Who may only read can report, and a rewrap says which permission is missing.
pub fn reader_only(fixture: &Fixture) {
    let site = rotated(fixture);
    let reader = fixture.reader();
    Run::start(&site, &reader, &["report", "--needs", "sealpoint@1", "store"]).ended(3, &["is needed by"]);
    let words = match fixture.root.scheme() {
        "s3" => "s3:PutObject",
        "gs" => "storage.objects.create",
        _ => "Storage Blob Data Contributor",
    };
    Run::start(&site, &reader, &["rewrap", "store"]).ended(1, &[words, "were not renewed"]);
    assert!(site.sidecars().is_empty());
    assert!(site.rewrap(&Options::default()).is_complete());
}

/// A store that asks to slow down is waited for, as long as that is not for ever.
pub fn throttled_tool(fixture: &Fixture) {
    let site = rotated(fixture);
    let (route, options) = fixture.through(Tls::Good);
    site.configure(&format!("store.ca-file = '{}'\n", options.ca_file.unwrap().display()));
    let behind = [(fixture.service.address_names[0], options.endpoint.unwrap())];
    let slow_down = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
    route.inject_into("GET", 4, json!({"status": 503, "body": slow_down}));
    route.inject_into("PUT", 2, json!({"status": 503, "body": slow_down}));
    Run::start(&site, &behind, &["rewrap", "store"]).ended(0, &["0 failed"]);
    site.set_enabled("sealpoint", 1, false);
    assert_eq!(site.unopened(), Vec::<String>::new());
    route.inject(json!({"status": 503, "body": slow_down, "headers": {"Retry-After": "3600"}}));
    Run::start(&site, &behind, &["rewrap", "store"]).ended(1, &["slow down"]);
}
