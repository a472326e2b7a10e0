//! A command at a terminal of its own, which script(1) makes: of bsdutils on Debian, of util-linux elsewhere.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Only keeps a broken build from hanging.
const LIMIT: Duration = Duration::from_secs(120);

pub struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    shown: Vec<u8>,
}

impl Terminal {
    /// Runs this command there, with its environment; standard output goes elsewhere if that is given.
    pub fn of(command: &Command, output: Option<&Path>) -> Terminal {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let quoted = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
        let mut line: Vec<String> = words.map(|word| quoted(word.to_str().unwrap())).collect();
        line.extend(output.map(|output| format!("> {}", quoted(output.to_str().unwrap()))));
        let mut script = Command::new("script");
        script.env_clear().envs([("PATH", "/usr/bin:/bin"), ("SHELL", "/bin/sh")]);
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.args(["-q", "-e", "-c", &line.join(" "), "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().expect("script(1) is there");
        let (keyboard, screen) = (script.stdin.take().unwrap(), parts_of(script.stdout.take().unwrap()));
        Terminal { script, keyboard, screen, shown: Vec::new() }
    }

    /// Waits until this is on the screen.
    #[track_caller]
    pub fn shows(&mut self, words: &str) {
        let end = Instant::now() + LIMIT;
        while !self.screen().contains(words) {
            let part = self.screen.recv_timeout(end.saturating_duration_since(Instant::now()));
            self.shown.extend(part.unwrap_or_else(|error| panic!("{error}: '{words}' in {}", self.screen())));
        }
    }

    #[allow(dead_code, reason = "not every command asks")]
    pub fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for its end: exit status, and all that was on the screen.
    #[track_caller]
    pub fn ends(mut self) -> (Option<i32>, String) {
        let end = Instant::now() + LIMIT;
        loop {
            match self.screen.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(part) => self.shown.extend(part),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {}", self.screen()),
            }
        }
        (self.script.wait().unwrap().code(), self.screen())
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }
}

/// What comes, part by part, until the end.
fn parts_of(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, parts) = channel();
    thread::spawn(move || {
        let mut block = [0; 1024];
        while let Ok(read @ 1..) = from.read(&mut block) {
            if sender.send(block[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    parts
}
