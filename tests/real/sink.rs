//! A receiver that records what it is told, and answers as a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::SystemTime;

use serde_json::Value;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub at: SystemTime,
    pub path: String,
    pub head: String,
    pub body: String,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Records every request; answers with a status, and repeats what it was asked with.
pub struct Sink {
    address: SocketAddr,
    desk: Arc<(Mutex<Desk>, Condvar)>,
}

/// Whoever takes the requests.
struct Desk {
    status: u16,
    hangs: bool,
    got: Vec<Request>,
}

impl Sink {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Desk { status: 200, hangs: false, got: Vec::new() };
        let desk = Arc::new((Mutex::new(desk), Condvar::new()));
        let shared = Arc::clone(&desk);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let desk = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &desk));
            }
        });
        Self { address, desk }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn answer_with(&self, status: u16) {
        self.desk.0.lock().unwrap().status = status;
    }

    /// While it hangs it takes nothing, and what is asked meanwhile is never answered.
    pub fn hang(&self, hangs: bool) {
        self.desk.0.lock().unwrap().hangs = hangs;
        self.desk.1.notify_all();
    }

    /// What came at `path`, in order.
    pub fn got(&self, path: &str) -> Vec<Request> {
        self.desk.0.lock().unwrap().got.iter().filter(|request| request.path == path).cloned().collect()
    }
}

/// Several requests come over one connection.
fn serve(mut stream: TcpStream, (desk, change): &(Mutex<Desk>, Condvar)) {
    let mut bytes = Vec::new();
    loop {
        let ends = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            }
        };
        let head = String::from_utf8_lossy(&bytes[..ends]).into_owned();
        let length = head
            .lines()
            .find_map(|line| {
                line.to_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
            })
            .unwrap_or(0);
        while bytes.len() < ends + length {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            }
        }
        let body = String::from_utf8_lossy(&bytes[ends..ends + length]).into_owned();
        bytes.drain(..ends + length);
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut desk = desk.lock().unwrap();
        if desk.hangs {
            drop(change.wait_while(desk, |desk| desk.hangs).unwrap());
            return;
        }
        let status = desk.status;
        let said =
            if status == 200 { "ok".to_owned() } else { format!("no: {head}{body}").replace("\r\n", " ") };
        desk.got.push(Request { at: SystemTime::now(), path, head, body });
        drop(desk);
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{said}", said.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
