//! `sealpoint seal`, `open` and `inspect`: paths, URIs and streams on either side, and what they say to programs.

use std::fs;
use std::io::{PipeWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const CLI: &str = env!("CARGO_BIN_EXE_sealpoint");

struct Fixture(TempDir);

impl Fixture {
    fn new(more: &str) -> Fixture {
        let fixture = Fixture(TempDir::new().unwrap());
        fixture.run(0, &["keyring", "create", &fixture.path("keyring")], b"");
        let text = format!("kms.provider = 'local'\nkms.local.keyring = '{}'\n{more}", fixture.path("keyring"));
        fs::write(fixture.path("sealpoint.toml"), text).unwrap();
        fixture
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn run(&self, code: i32, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(CLI);
        command.current_dir(&self.0).env("SEALPOINT_CONFIG", self.path("sealpoint.toml")).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
        // A command that ends without reading breaks the pipe.
        let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        feeding.join().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        output
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.run(0, arguments, b"").stdout).unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A pipe that nobody reads.
fn unread() -> PipeWriter {
    std::io::pipe().unwrap().1
}

#[test]
fn whoever_reads_no_further_ends_the_command_without_a_word() {
    let fixture = Fixture::new("");
    fixture.run(0, &["seal", "-", "sealed"], &vec![7; 100_000]);
    for arguments in [&["open", "sealed", "-"][..], &["inspect", "sealed"], &["config", "reference"], &["man"]] {
        let mut command = Command::new(CLI);
        command.current_dir(&fixture.0).env("SEALPOINT_CONFIG", fixture.path("sealpoint.toml")).args(arguments);
        // Not even that keys are in no locked memory.
        command.env("SEALPOINT_LOG", "off");
        let output = command.stdout(unread()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(141), ""), "{arguments:?}");
    }
}

#[test]
fn what_changes_keys_goes_on_though_nobody_listens() {
    let fixture = Fixture::new("");
    let mut command = Command::new(CLI);
    command.env("SEALPOINT_CONFIG", fixture.path("sealpoint.toml")).args(["rotate", "--json"]);
    assert_eq!(command.stdout(unread()).stderr(unread()).status().unwrap().code(), Some(0));
    let shown = fixture.json(&["keyring", "show", "--json", &fixture.path("keyring")]);
    assert_eq!(shown["keys"][0]["versions"].as_array().unwrap().len(), 2, "{shown}");
    // A disk that is full loses what was said, and that is told.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert!(output.status.code() == Some(1) && said(&output).contains("cannot write the output"), "{output:?}");
}

#[test]
fn paths_uris_and_streams_are_the_same_on_both_sides() {
    let fixture = Fixture::new("");
    for length in [0, 1, 16_384, 1_000_000, 5_000_001] {
        let plain: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let sealed = fixture.run(0, &["seal", "-", "-"], &plain).stdout;
        assert!(sealed.len() > plain.len());
        assert_eq!(fixture.run(0, &["open", "-", "-"], &sealed).stdout, plain, "{length}");
        let (name, uri) = (format!("sealed-{length}"), format!("file://{}", fixture.path(&format!("opened-{length}"))));
        fixture.run(0, &["seal", "-", &name], &plain);
        fixture.run(0, &["open", &format!("sealed+file://{}", fixture.path(&name)), &uri], b"");
        assert_eq!(fs::read(fixture.path(&format!("opened-{length}"))).unwrap(), plain);
        let mode = fs::metadata(fixture.path(&format!("opened-{length}"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "plaintext is its owner's alone");
        fixture.run(0, &["open", "--verify", "-"], &fs::read(fixture.path(&name)).unwrap());
    }
}

#[test]
fn a_stream_that_is_cut_or_changed_ends_with_1_and_no_file() {
    let fixture = Fixture::new("");
    let sealed = fixture.run(0, &["seal", "-", "-"], &[7; 300_000]).stdout;
    let mut changed = sealed.clone();
    changed[200_000] ^= 1;
    for bad in [&sealed[..sealed.len() - 1], &sealed[..100], b"plain", &changed, &[&sealed[..], b"more"].concat()] {
        let output = fixture.run(1, &["open", "-", "opened"], bad);
        assert!(said(&output).starts_with("sealpoint: -: "), "{output:?}");
    }
    let left: Vec<_> = fs::read_dir(&fixture.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        left.iter().all(|name| !name.to_string_lossy().contains("opened") && !name.to_string_lossy().contains("tmp"))
    );
}

#[test]
fn a_stream_has_the_tenant_and_the_name_of_the_place_that_it_is_said_to_be_of() {
    let fixture = Fixture::new("tenants.a.paths = 's3://bucket/a'\n");
    let at = ["--at", "s3://bucket/a/f"];
    let sealed = fixture.run(0, &[&["seal", "--bind-name"], &at[..], &["-", "-"]].concat(), b"x").stdout;
    let head: Value = serde_json::from_slice(&fixture.run(0, &["inspect", "--json", "-"], &sealed).stdout).unwrap();
    assert_eq!((&head[0]["tenant"], &head[0]["subject"]), (&json!("a"), &json!("f")));
    let nameless = fixture.run(2, &["open", "-", "-"], &sealed);
    assert!(said(&nameless).contains("--at"), "{nameless:?}");
    assert_eq!(fixture.run(0, &[&["open"], &at[..], &["-", "-"]].concat(), &sealed).stdout, b"x");
    fixture.run(1, &["open", "--at", "s3://bucket/a/g", "-", "-"], &sealed);
    let other = fixture.run(0, &["seal", "-", "-"], b"x").stdout;
    let elsewhere = fixture.run(1, &["open", "--at", "s3://bucket/a/f", "-", "-"], &other);
    assert!(said(&elsewhere).contains("tenant"), "{elsewhere:?}");
    assert!(said(&fixture.run(2, &["seal", "--bind-name", "-", "-"], b"x")).contains("--at"));
}

#[test]
fn what_is_done_is_told_in_json_where_standard_output_is_free() {
    let fixture = Fixture::new("");
    fs::write(fixture.path("plain"), [7; 1000]).unwrap();
    let sealed = fixture.json(&["seal", "--json", "plain", "sealed"]);
    let length = fs::metadata(fixture.path("sealed")).unwrap().len();
    assert_eq!(sealed, json!({"file": "plain", "output": "sealed", "bytes": 1000, "sealed_bytes": length}));
    let opened = fixture.json(&["open", "--json", "--verify", "sealed"]);
    let expected = json!({"file": "sealed", "output": null, "verified": true, "bytes": 1000, "tenant": "default"});
    assert_eq!(opened, expected);
    for arguments in [["seal", "--json", "plain", "-"], ["open", "--json", "sealed", "-"]] {
        let refused = fixture.run(2, &arguments, b"");
        assert!(refused.stdout.is_empty() && said(&refused).contains("standard output"), "{refused:?}");
    }
}

#[test]
fn nothing_is_written_over_and_no_folder_is_made() {
    let fixture = Fixture::new("");
    fs::write(fixture.path("there"), "old").unwrap();
    std::os::unix::fs::symlink("/no/such/place", fixture.path("link")).unwrap();
    for output in ["there", "link"] {
        let refused = fixture.run(2, &["seal", "-", output], b"new");
        assert!(said(&refused).contains("exists already"), "{refused:?}");
    }
    assert_eq!(fs::read(fixture.path("there")).unwrap(), b"old");
    fixture.run(1, &["seal", "-", "no/such/folder/f"], b"new");
    assert!(!fixture.0.path().join("no").exists());
    for (code, arguments, words) in [
        (1, ["seal", "missing", "x"], "missing"),
        (2, ["seal", "s4://bucket/f", "x"], "did you mean s3?"),
        (2, ["seal", "there", "s3:/bucket"], "takes a bucket"),
    ] {
        let failed = fixture.run(code, &arguments, b"");
        assert!(said(&failed).contains(words), "{failed:?}");
    }
    assert!(!fixture.0.path().join("x").exists());
}

#[test]
fn warnings_of_the_library_are_seen_and_each_once() {
    let fixture = Fixture::new("");
    let chosen = "the key service is the local keyring";
    assert!(!said(&fixture.run(0, &["seal", "-", "-"], b"x")).contains(chosen));
    let verbose = fixture.run(0, &["-v", "seal", "-", "-"], b"x");
    assert_eq!(said(&verbose).matches(chosen).count(), 1, "{verbose:?}");
    // Two files whose key is renewed beside their folder, and a damaged sidecar in it.
    fs::create_dir(fixture.path("in")).unwrap();
    fixture.run(0, &["seal", "-", "in/f"], b"x");
    let keyring = fixture.path("keyring");
    fixture.run(0, &["keyring", "rotate", &keyring], b"");
    fixture.run(0, &["rewrap", "in"], b"");
    fs::rename(fixture.path("in/.sealpoint-keys"), fixture.path(".sealpoint-keys")).unwrap();
    fs::write(fixture.path("in/.sealpoint-keys"), "damaged").unwrap();
    fixture.run(0, &["keyring", "disable", &keyring, "1"], b"");
    let opened = fixture.run(0, &["open", "--verify", "in/f"], b"");
    assert_eq!(said(&opened).matches("sealpoint: warning: a key file was of no use").count(), 1, "{opened:?}");
}
