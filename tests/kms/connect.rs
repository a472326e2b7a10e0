//! A proxy of the kind that companies have before the clouds: it takes `CONNECT host:port`, and tells what it was asked.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Whoever holds this has a proxy on loopback, which is reached by a user and a password.
#[derive(Debug)]
pub struct ConnectProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    asked: Vec<String>,
    refusal: Option<&'static str>,
}

impl ConnectProxy {
    /// Whatever host it is asked for, it connects to this port here.
    pub fn before(port: u16) -> ConnectProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A connection that breaks is the client's to tell of.
                thread::spawn(move || serve(stream, port, &state));
            }
        });
        ConnectProxy { address, state }
    }

    /// The address with its credentials.
    pub fn url(&self) -> String {
        format!("http://user:{PASSWORD}@{}", self.address)
    }

    /// The heads of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().expect("nobody panics with it").asked.clone()
    }

    /// From now on it answers this to everything.
    pub fn refuse(&self, status: &'static str) {
        self.state.lock().expect("nobody panics with it").refusal = Some(status);
    }
}

/// What must never be told.
pub const PASSWORD: &str = "hunter2";

/// `user:hunter2` in base64, lower case.
pub const CREDENTIALS: &str = "proxy-authorization: basic dxnlcjpodw50zxiy";

fn serve(client: TcpStream, port: u16, state: &Mutex<State>) -> io::Result<()> {
    // Nothing follows the head before it is answered, so that nothing is lost in this buffer.
    let mut lines = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let refusal = {
        let mut state = state.lock().expect("nobody panics with it");
        state.asked.push(head);
        state.refusal
    };
    if let Some(status) = refusal {
        return write!(&client, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    }
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    write!(&client, "HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (answers, back) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || pass(answers, back));
    pass(client, server);
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // However it ends, the other side learns of it.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
