//! An exporter made for a test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// An exporter of one gauge, `level`, whose value a test sets; a little noise keeps it from being constant.
pub struct Synthetic {
    address: SocketAddr,
    level: Arc<Mutex<f64>>,
}

impl Synthetic {
    pub fn start() -> Self {
        let level = Arc::new(Mutex::new(0.0));
        let served = Arc::clone(&level);
        let tick = AtomicU64::new(0);
        let address = serve(move |mut stream| {
            let noise = (tick.fetch_add(1, Ordering::Relaxed) * 7919 % 11) as f64 / 10.0;
            let body = format!("# TYPE level gauge\nlevel {}\n", *served.lock().unwrap() + noise);
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        });
        Self { address, level }
    }

    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    pub fn set(&self, level: f64) {
        *self.level.lock().unwrap() = level;
    }
}

/// Answers every connection by `answer`, once its request has come, on a thread of its own.
pub fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                answer(stream);
            });
        }
    });
    address
}
