//! A receiver that records what it is told, and answers as a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
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
    status: Arc<AtomicU16>,
    got: Arc<Mutex<Vec<Request>>>,
}

impl Sink {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(200));
        let got: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (answers, record) = (Arc::clone(&status), Arc::clone(&got));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, record) = (Arc::clone(&answers), Arc::clone(&record));
                std::thread::spawn(move || serve(stream, &answers, &record));
            }
        });
        Self { address, status, got }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// What came at `path`, in order.
    pub fn got(&self, path: &str) -> Vec<Request> {
        self.got.lock().unwrap().iter().filter(|request| request.path == path).cloned().collect()
    }
}

/// Several requests come over one connection.
fn serve(mut stream: TcpStream, status: &AtomicU16, got: &Mutex<Vec<Request>>) {
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
        let status = status.load(Ordering::Relaxed);
        let said =
            if status == 200 { "ok".to_owned() } else { format!("no: {head}{body}").replace("\r\n", " ") };
        got.lock().unwrap().push(Request { path, head, body });
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{said}", said.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
