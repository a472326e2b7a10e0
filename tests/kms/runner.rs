//! Runs the cases of all providers, some at a time, and says what became of each.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use crate::cases::{self, Case, Needs};
use crate::child::{Missing, log_lengths, news};
use crate::cloud::{self, Cloud};
use crate::documentation;
use crate::fixture::Fixture;
use crate::matrix::Matrix;
use crate::provider::{Provider, Service};
use crate::proxy::{self, Proxy};

/// The command line, as `cargo test` gives it.
#[derive(Debug, Default)]
pub struct Arguments {
    filters: Vec<String>,
    exact: bool,
    list: bool,
    threads: Option<usize>,
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed(String),
    /// Cannot exist for this provider.
    NotApplicable(&'static str),
    /// Could not be run here.
    Skipped(String),
}

impl Arguments {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut parsed = Arguments::default();
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let (name, value) =
                argument.split_once('=').map_or((&*argument, None), |(name, value)| (name, Some(value)));
            match name {
                "--exact" => parsed.exact = true,
                "--list" => parsed.list = true,
                "--nocapture" | "--no-capture" | "--show-output" | "-q" | "--quiet" => {}
                "--test-threads" => {
                    let value = value.map(str::to_owned).or_else(|| arguments.next()).unwrap_or_default();
                    parsed.threads = Some(value.parse().map_err(|_| format!("--test-threads {value}"))?);
                }
                _ if name.starts_with('-') => return Err(argument),
                _ => parsed.filters.push(argument),
            }
        }
        Ok(parsed)
    }

    fn takes(&self, name: &str) -> bool {
        let matches = |filter: &String| if self.exact { filter == name } else { name.contains(filter.as_str()) };
        self.filters.is_empty() || self.filters.iter().any(matches)
    }
}

type Check = fn(&[Box<dyn Provider>]);

/// What the suite holds itself to.
const OWN: &[(&str, Check)] =
    &[(documentation::TEST, documentation::check), (proxy::TEST, |_| proxy::check()), (cloud::TEST, cloud::check)];

/// One case of one provider.
struct Test<'p> {
    provider: &'p dyn Provider,
    case: Case,
    name: String,
}

/// Runs what the command line asks for.
pub fn run(arguments: &Arguments, providers: &[Box<dyn Provider>]) -> ExitCode {
    let cloud = match Cloud::asked_for(providers) {
        Ok(cloud) => cloud,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let taken = |provider: &dyn Provider| cloud.as_ref().is_none_or(|cloud| provider.name() == cloud.provider);
    let mut tests = Vec::new();
    for provider in providers.iter().filter(|provider| taken(&***provider)) {
        // What only one service has is about its server in the tests.
        let own_cases = if cloud.is_some() { Vec::new() } else { provider.own_cases() };
        for case in cases::all().into_iter().chain(own_cases) {
            let name = format!("{}::{}", provider.name(), case.name);
            if arguments.takes(&name) {
                tests.push(Test { provider: &**provider, case, name });
            }
        }
    }
    let own: Vec<_> = OWN.iter().filter(|(name, _)| cloud.is_none() && arguments.takes(name)).collect();
    if arguments.list {
        tests.iter().for_each(|test| println!("{}: test", test.name));
        own.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }

    panic::set_hook(Box::new(|panic| {
        LAST_PANIC.with(|last| *last.borrow_mut() = panic.to_string());
        if thread::current().name().is_some() {
            eprintln!("{panic}"); // not one of ours: it dies with nobody to tell why
        }
    }));
    println!("\nrunning {} cases", tests.len() + own.len());
    let stage = Stage::new(cloud);
    let mut outcomes: Vec<Outcome> = in_parallel(&tests, arguments.threads, |test| stage.play(test));
    drop(stage);

    let matrix = Matrix::new(tests.iter().map(|test| (test.provider.name(), test.case.name)).zip(&outcomes));
    for (name, test) in own {
        let outcome = caught(name, "-", || test(providers));
        tell(name, &outcome);
        outcomes.push(outcome);
    }
    if !tests.is_empty() && !arguments.exact {
        println!("\n{matrix}");
    }
    if arguments.filters.is_empty() {
        matrix.write();
    }
    summary(&outcomes)
}

/// The servers: each starts when the first test needs it.
struct Stage {
    cloud: Option<Cloud>,
    proxy: OnceLock<Result<Arc<Proxy>, Missing>>,
    services: Mutex<HashMap<&'static str, Arc<Started>>>,
}

type Started = OnceLock<Result<Box<dyn Service>, Missing>>;

impl Stage {
    fn new(cloud: Option<Cloud>) -> Stage {
        Stage { cloud, proxy: OnceLock::new(), services: Mutex::default() }
    }

    fn play(&self, test: &Test) -> Outcome {
        let outcome = self.outcome(test);
        tell(&test.name, &outcome);
        outcome
    }

    fn outcome(&self, test: &Test) -> Outcome {
        if let Some(why) = test.provider.excuse(&test.case) {
            return Outcome::NotApplicable(why);
        }
        if self.cloud.is_some() && test.case.needs != Needs::Client {
            return Outcome::Skipped(test.case.needs.absent_in_a_cloud().to_owned());
        }
        let place = Arc::clone(
            self.services.lock().expect("no panic while it is held").entry(test.provider.name()).or_default(),
        );
        let mut service = None;
        let start = caught(&test.name, test.provider.name(), || {
            service = Some(place.get_or_init(|| self.start(test.provider)))
        });
        match service {
            None => start,
            Some(Err(missing)) => without(missing),
            Some(Ok(service)) => caught(&test.name, test.provider.name(), || {
                (test.case.run)(&Fixture::new(&**service, self.proxy.get().and_then(|proxy| proxy.as_ref().ok())));
            }),
        }
    }

    fn start(&self, provider: &dyn Provider) -> Result<Box<dyn Service>, Missing> {
        if let Some(cloud) = &self.cloud {
            return Ok(Box::new(cloud.clone()));
        }
        let service = provider.start()?;
        if service.upstream().is_some() {
            self.proxy.get_or_init(Proxy::start).clone()?;
        }
        Ok(service)
    }
}

/// CI has everything, or is not set up.
fn without(missing: &Missing) -> Outcome {
    let what = missing.to_string();
    if std::env::var_os("CI").is_some() { Outcome::Failed(what) } else { Outcome::Skipped(what) }
}

fn tell(name: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Passed => println!("test {name} ... ok"),
        Outcome::Failed(text) => println!("test {name} ... FAILED\n{text}\n"),
        Outcome::NotApplicable(why) => println!("test {name} ... not applicable: {why}"),
        Outcome::Skipped(why) => println!("test {name} ... NOT RUN: {why}"),
    }
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a test to its end, or to its panic, which is told with what the servers said meanwhile.
fn caught(name: &str, provider: &str, test: impl FnOnce()) -> Outcome {
    let logs = log_lengths();
    match panic::catch_unwind(AssertUnwindSafe(test)) {
        Ok(()) => Outcome::Passed,
        Err(panic) if panic.is::<Missing>() => without(&panic.downcast::<Missing>().expect("just looked")),
        Err(_) => {
            let said = LAST_PANIC.with(|last| last.borrow().clone());
            Outcome::Failed(format!("---- {name}: {said}{}", news(provider, &logs)))
        }
    }
}

fn in_parallel<T: Sync>(tests: &[T], threads: Option<usize>, run: impl Fn(&T) -> Outcome + Sync) -> Vec<Outcome> {
    // Most of the time goes by in waiting for a server.
    let threads = threads.unwrap_or_else(|| 2 * thread::available_parallelism().map_or(2, usize::from)).max(1);
    let next = AtomicUsize::new(0);
    let outcomes: Vec<OnceLock<Outcome>> = tests.iter().map(|_| OnceLock::new()).collect();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(test), Some(place)) = (tests.get(index), outcomes.get(index)) else { break };
                    place.get_or_init(|| run(test));
                }
            });
        }
    });
    outcomes.into_iter().map(|outcome| outcome.into_inner().expect("every test was run")).collect()
}

fn summary(outcomes: &[Outcome]) -> ExitCode {
    let count = |kind: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| kind(outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    println!(
        "\nresult: {}. {} passed; {failed} failed; {} not run; {} not applicable\n",
        if failed == 0 { "ok" } else { "FAILED" },
        count(|outcome| matches!(outcome, Outcome::Passed)),
        count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        count(|outcome| matches!(outcome, Outcome::NotApplicable(_))),
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
