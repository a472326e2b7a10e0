//! Servers as child processes: on a free loopback port, gone with the test process whatever ends it, logs at hand.

use std::fmt;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Runs a command until it ends, or until our end of the pipe to its standard input is closed, as it is with us gone.
const LEASH: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
pid=$!
{ cat >/dev/null; kill -KILL $pid 2>/dev/null; } <&3 3<&- &
exec 2>/dev/null
wait $pid
"#;
const STARTS: Duration = Duration::from_secs(60);

/// Why a server cannot be had on this machine, and what to do.
#[derive(Debug, Clone)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts the command that `command` makes for a port, and waits until something accepts connections there.
    pub fn serve(name: &str, command: impl Fn(u16) -> Command) -> Result<(Child, u16), Missing> {
        // Somebody else may take the port in between; once more is enough.
        match Child::try_serve(name, &command) {
            Err(Trouble::Ended(_)) => Child::try_serve(name, &command),
            outcome => outcome,
        }
        .map_err(|trouble| match trouble {
            Trouble::Missing(missing) => missing,
            Trouble::Ended(text) => panic!("{text}"),
        })
    }

    fn try_serve(name: &str, command: &impl Fn(u16) -> Command) -> Result<(Child, u16), Trouble> {
        let port = free_port();
        let mut child = Child::start(name, &command(port)).map_err(Trouble::Missing)?;
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = child.process.try_wait().expect("a child of ours");
            if ended.is_some() || start.elapsed() > STARTS {
                return Err(Trouble::Ended(format!("{name} does not serve: {}", tail(&child.log, 0))));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok((child, port))
    }

    /// Starts the command, its output in a log.
    fn start(name: &str, command: &Command) -> Result<Child, Missing> {
        let program = command.get_program();
        if Path::new(program).is_absolute() && !Path::new(program).exists() {
            let program = program.display();
            return Err(Missing(format!("{name}: there is no {program}; `make kms-env store-env` builds it")));
        }
        let log = log_file(name);
        let output = File::create(&log).expect("the folder of the logs is ours");
        let mut leash = Command::new("sh");
        leash.args(["-c", LEASH, name]).arg(program).args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => leash.env(variable, value),
                None => leash.env_remove(variable),
            };
        }
        command.get_current_dir().map(|folder| leash.current_dir(folder));
        leash.stdin(Stdio::piped()).stdout(output.try_clone().expect("a file of ours")).stderr(output);
        let process = leash.spawn().map_err(|error| Missing(format!("{name}: sh cannot be started: {error}")))?;
        LOGS.lock().expect("no panic while it is held").push(log.clone());
        Ok(Child { process, log })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

enum Trouble {
    Missing(Missing),
    Ended(String),
}

/// A port that nobody listened at just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback has free ports").port()
}

/// A program of the Python environment of the tests, such as `python` or `bao`.
pub fn tool(name: &str) -> PathBuf {
    root().join("target/kms-env/bin").join(name)
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A script beside this file.
pub fn script(name: &str) -> PathBuf {
    root().join("tests/kms/servers").join(name)
}

static LOGS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn log_file(name: &str) -> PathBuf {
    let folder = root().join("target/kms-logs");
    fs::create_dir_all(&folder).expect("target is ours");
    folder.join(format!("{name}.log"))
}

/// How long each log is now.
pub fn log_lengths() -> Vec<(PathBuf, u64)> {
    let logs = LOGS.lock().expect("no panic while it is held");
    logs.iter().map(|log| (log.clone(), fs::metadata(log).map_or(0, |data| data.len()))).collect()
}

/// What the logs that concern `name` gained since.
pub fn news(name: &str, since: &[(PathBuf, u64)]) -> String {
    let mut news = String::new();
    for (log, _) in log_lengths() {
        let file = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if file.starts_with(name) || file.starts_with("fault-proxy") {
            let from = since.iter().find(|(known, _)| *known == log).map_or(0, |(_, length)| *length);
            let text = tail(&log, from);
            if !text.trim().is_empty() {
                news += &format!("\n--- {file}\n{text}");
            }
        }
    }
    news
}

/// The last lines from `from` on.
fn tail(log: &Path, from: u64) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let new = bytes.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
    let text = String::from_utf8_lossy(new);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
