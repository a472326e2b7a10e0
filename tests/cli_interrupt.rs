//! Ctrl-C and SIGTERM: the process ends with 130 or 143, and nothing half-written is left.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

const CLI: &str = env!("CARGO_BIN_EXE_sealpoint");
/// More than is held in memory before a file is begun.
const LONG: usize = 3 << 20;

struct Fixture(TempDir);

impl Fixture {
    fn new() -> Fixture {
        let fixture = Fixture(TempDir::new().unwrap());
        fixture.done(&["keyring", "create", &fixture.path("keyring")]);
        let text = format!("kms.provider = 'local'\nkms.local.keyring = '{}'\n", fixture.path("keyring"));
        fs::write(fixture.path("sealpoint.toml"), text).unwrap();
        fs::create_dir(fixture.path("out")).unwrap();
        fixture
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(CLI);
        command.env("SEALPOINT_CONFIG", self.path("sealpoint.toml")).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn done(&self, arguments: &[&str]) {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    fn pipe(&self, name: &str) -> String {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    /// Files below `out`, however hidden.
    fn left(&self) -> Vec<PathBuf> {
        let (mut found, mut folders) = (Vec::new(), vec![self.0.path().join("out")]);
        while let Some(folder) = folders.pop() {
            // What goes away meanwhile is as good as not there.
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found
    }

    /// Waits until the command has begun to write; false if it has ended.
    fn writes(&self, child: &mut Child) -> bool {
        while self.left().is_empty() {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            sleep(Duration::from_millis(5));
        }
        true
    }

    /// Interrupts it once it writes: it says so, ends with this code, and leaves nothing.
    fn ends_in_the_middle(&self, mut child: Child, by: &str, code: i32) {
        assert!(self.writes(&mut child));
        let (ended, said) = end(child, by);
        assert!(ended == Some(code) && said.contains("interrupted"), "{ended:?} {said}");
        assert!(self.left().is_empty(), "{:?}", self.left());
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Interrupts it, and gives its exit code and what it said.
fn end(child: Child, by: &str) -> (Option<i32>, String) {
    signal(&child, by);
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

const ENDS: [(&str, i32); 2] = [("INT", 130), ("TERM", 143)];

#[test]
fn sealing_from_standard_input_that_waits_leaves_nothing() {
    let fixture = Fixture::new();
    for (by, code) in ENDS {
        let mut command = fixture.command(&["seal", "-", &fixture.path("out/sealed")]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(&vec![7; LONG]).unwrap();
        fixture.ends_in_the_middle(child, by, code);
        drop(input);
    }
}

#[test]
fn sealing_from_a_pipe_that_nobody_writes_to_can_be_ended() {
    let fixture = Fixture::new();
    let pipe = fixture.pipe("pipe");
    let mut child = fixture.command(&["seal", &pipe, &fixture.path("out/sealed")]).spawn().unwrap();
    assert!(fixture.writes(&mut child));
    assert_eq!(end(child, "INT").0, Some(130));
    assert!(fixture.left().is_empty(), "{:?}", fixture.left());
}

#[test]
fn opening_a_file_half_of_which_is_there_leaves_nothing() {
    let fixture = Fixture::new();
    fs::write(fixture.path("plain"), vec![7; LONG]).unwrap();
    fixture.done(&["seal", &fixture.path("plain"), &fixture.path("sealed")]);
    let sealed = fs::read(fixture.path("sealed")).unwrap();
    for (by, code) in ENDS {
        let pipe = fixture.pipe(by);
        let child = fixture.command(&["open", &pipe, &fixture.path("out/plain")]).spawn().unwrap();
        let mut input = File::options().write(true).open(&pipe).unwrap();
        input.write_all(&sealed[..sealed.len() / 2]).unwrap();
        fixture.ends_in_the_middle(child, by, code);
        drop(input);
    }
}

/// With a request a second, a file of many blocks takes long enough to be caught in the middle of it; should this machine
/// sleep through all of them, it is tried again.
#[test]
fn reencrypting_leaves_no_part_of_a_file_and_goes_on_where_it_was() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("in")).unwrap();
    fs::write(fixture.path("plain"), vec![7; 16 << 20]).unwrap();
    fixture.done(&["seal", "--bind-name", &fixture.path("plain"), &fixture.path("in/f")]);
    let arguments = ["reencrypt", &fixture.path("in"), &fixture.path("out")];
    let caught = (0..5).any(|_| {
        let mut child = fixture.command(&[&arguments[..], &["--store-rate", "1"]].concat()).spawn().unwrap();
        let begun = fixture.writes(&mut child);
        let (ended, said) = end(child, "INT");
        match ended {
            Some(130) => {
                assert!(begun && said.contains("interrupted") && fixture.left().is_empty(), "{said}");
                true
            }
            _ => {
                assert_eq!(ended, Some(0), "{said}");
                fixture.left().iter().for_each(|file| fs::remove_file(file).unwrap());
                false
            }
        }
    });
    assert!(caught, "never in the middle of a file");
    fixture.done(&arguments);
    fixture.done(&["open", "--verify", &fixture.path("out/f")]);
}

#[test]
#[cfg(feature = "s3")]
fn a_store_that_does_not_answer_does_not_hold_the_process() {
    let fixture = Fixture::new();
    // Connections are taken, and nothing is ever said.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (endpoint, bucket) = (format!("http://{address}"), "s3://bucket/checkpoints");
    for arguments in [
        &["report", bucket][..],
        &["rewrap", bucket],
        &["verify", bucket],
        &["reencrypt", bucket, &fixture.path("out/new")],
        &["open", "s3://bucket/f", &fixture.path("out/plain")],
        &["inspect", "s3://bucket/f"],
    ] {
        let mut command = fixture.command(arguments);
        command.args(["--store-endpoint", &endpoint, "--store-allow-http"]);
        command.envs([("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_REGION", "r")]);
        let child = command.spawn().unwrap();
        let _connection = listener.accept().unwrap();
        let (code, said) = end(child, "INT");
        assert_eq!(code, Some(130), "{arguments:?}: {said}");
        assert!(fixture.left().is_empty(), "{:?}", fixture.left());
    }
}
