//! How far a command is, on standard error: on a terminal, or where that is asked for. Nothing here goes by time: the
//! command stands still in the middle, since nobody reads its output, or another process holds its lock.

#[path = "terminal/mod.rs"]
mod terminal;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use terminal::Terminal;

const CLI: &str = env!("CARGO_BIN_EXE_sealpoint");
/// The names of so many files do not fit into a pipe.
const FILES: usize = 1_000;
const JOBS: usize = 9;
/// Only keeps a broken build from hanging.
const LIMIT: Duration = Duration::from_secs(120);

struct Fixture(TempDir);

impl Fixture {
    fn new() -> Fixture {
        let fixture = Fixture(TempDir::new().unwrap());
        let keyring = fixture.path("keyring");
        fixture.done(&["keyring", "create", keyring.to_str().unwrap()]);
        let text = format!("kms.provider = 'local'\nkms.local.keyring = '{}'\n", keyring.display());
        fs::write(fixture.path("sealpoint.toml"), text).unwrap();
        fs::create_dir(fixture.path("store")).unwrap();
        fs::write(fixture.path("plain"), "state").unwrap();
        fixture
    }

    /// With many files under the key, and one of ours that no key opens, which is not looked at.
    fn with_files() -> Fixture {
        let fixture = Fixture::new();
        fixture.done(&["seal", "plain", "store/0"]);
        fs::write(fixture.path("store/.sealpoint-tmp-1"), "half of it").unwrap();
        for number in 1..FILES {
            fs::copy(fixture.path("store/0"), fixture.path(&format!("store/{number:0>200}"))).unwrap();
        }
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(CLI);
        command.env_clear().env("SEALPOINT_CONFIG", self.path("sealpoint.toml")).args(arguments);
        command.current_dir(self.0.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn done(&self, arguments: &[&str]) {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

/// Reads lines of progress until one has all these words; gives those that follow.
#[track_caller]
fn says(child: &mut Child, words: &[&str]) -> Receiver<String> {
    let said = BufReader::new(child.stderr.take().unwrap());
    let (sender, lines) = channel();
    thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let (end, mut line) = (Instant::now() + LIMIT, String::new());
    while !words.iter().all(|word| line.contains(word)) {
        let next = lines.recv_timeout(end.saturating_duration_since(Instant::now()));
        line = next.unwrap_or_else(|error| panic!("{error}: {words:?} in no line, the last one is {line}"));
    }
    lines
}

/// Lets go of a command that waits for somebody to read its output.
fn read_out(child: &mut Child) -> Option<i32> {
    child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    child.wait().unwrap().code()
}

/// Which prints the names of all files, and waits in the middle of them. Each file counts once.
const ASKS: [&str; 7] = ["report", "--needs", "sealpoint@1", "--all", "--json", "store/0", "store"];

#[test]
fn where_it_is_asked_for_lines_say_how_much_of_how_much_is_done_and_the_time_left() {
    let fixture = Fixture::with_files();
    let mut child = fixture.command(&[&ASKS[..], &["--progress"]].concat()).spawn().unwrap();
    let of_all = format!(" of {FILES} files, ");
    let _said = says(&mut child, &["reading heads: ", &of_all, "/s, about ", " s left"]);
    assert_eq!(read_out(&mut child), Some(3));
}

#[test]
fn nothing_is_said_into_a_pipe_unasked() {
    let fixture = Fixture::with_files();
    let mut child = fixture.command(&ASKS).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    // It is in the middle, and this is long enough for some lines, were there any.
    sleep(Duration::from_secs(2));
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    assert_eq!(read_out(&mut child), Some(3));
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

#[test]
fn on_a_terminal_one_line_is_written_over_unasked() {
    let fixture = Fixture::with_files();
    let output = fixture.path("output");
    assert!(Command::new("mkfifo").arg(&output).status().unwrap().success());
    let mut command = fixture.command(&ASKS[..5]);
    let mut terminal = Terminal::of(command.arg(fixture.path("store")), Some(&output));
    let mut answer = File::open(&output).unwrap();
    terminal.shows(" s left");
    answer.read_to_end(&mut Vec::new()).unwrap();
    let (code, shown) = terminal.ends();
    assert!(code == Some(3) && shown.contains('\r') && !shown.contains('\n'), "{code:?} {shown:?}");
}

#[test]
fn of_one_file_bytes_are_counted_and_of_a_stream_no_time_left_is_known() {
    let fixture = Fixture::new();
    let plain = vec![7; 8 << 20];
    fs::write(fixture.path("plain"), &plain).unwrap();
    let mut child = fixture.command(&["seal", "--progress", "plain", "-"]).spawn().unwrap();
    let mut begun = vec![0; 3 << 20];
    child.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    let _said = says(&mut child, &["sealing: ", " MiB, ", "/s, about ", " s left"]);
    assert_eq!(read_out(&mut child), Some(0));

    fixture.done(&["seal", "plain", "sealed"]);
    let input = File::open(fixture.path("sealed")).unwrap();
    let mut child = fixture.command(&["open", "--progress", "-", "-"]).stdin(input).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    let said = says(&mut child, &["opening: ", " MiB, ", "/s"]);
    assert_eq!(read_out(&mut child), Some(0));
    let rest: Vec<String> = said.iter().collect();
    assert!(begun == plain[..begun.len()] && !rest.iter().any(|line| line.contains("left")), "{rest:?}");
}

#[test]
fn a_rewrap_says_how_many_data_keys_of_all_are_done() {
    let fixture = Fixture::new();
    for job in 0..JOBS {
        fs::create_dir_all(fixture.path(&format!("store/{job}/chk-1"))).unwrap();
        fixture.done(&["seal", "plain", &format!("store/{job}/chk-1/f")]);
    }
    fixture.done(&["keyring", "rotate", "keyring"]);
    let held: Vec<File> = (0..JOBS)
        .map(|job| {
            let lock = File::create(fixture.path(&format!("store/{job}/.sealpoint-keys.lock"))).unwrap();
            lock.lock().unwrap();
            lock
        })
        .collect();
    let mut child = fixture.command(&["rewrap", "--progress", "store"]).spawn().unwrap();
    let of_all = format!(" of {JOBS} data keys, ");
    let _said = says(&mut child, &["renewing data keys: ", &of_all, "/s, about ", " s left"]);
    drop(held);
    assert_eq!(read_out(&mut child), Some(0));
    fixture.done(&["open", "--verify", "store/0/chk-1/f"]);
}
