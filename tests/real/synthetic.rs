//! An exporter made for a test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

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
        let address = serve(move |stream| {
            let noise = (tick.fetch_add(1, Ordering::Relaxed) * 7919 % 11) as f64 / 10.0;
            answer(stream, &format!("# TYPE level gauge\nlevel {}\n", *served.lock().unwrap() + noise));
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

/// An exporter of a network device's byte counters, whose traffic a test sets; it strays by a tenth around that.
pub struct Traffic {
    address: SocketAddr,
    counter: Arc<Mutex<Counter>>,
}

struct Counter {
    bytes: f64,
    megabits: f64,
    read: Instant,
    random: u32,
}

impl Traffic {
    pub fn start(megabits: f64) -> Self {
        let counter = Counter { bytes: 0.0, megabits, read: Instant::now(), random: 1 };
        let counter = Arc::new(Mutex::new(counter));
        let served = Arc::clone(&counter);
        let address = serve(move |stream| {
            let bytes = served.lock().unwrap().read();
            let name = "node_network_receive_bytes_total";
            let sent = "node_network_transmit_bytes_total";
            answer(
                stream,
                &format!(
                    "# TYPE {name} counter\n{name}{{device=\"eth0\"}} {bytes}\n\
                     # TYPE {sent} counter\n{sent}{{device=\"eth0\"}} 1e6\n"
                ),
            );
        });
        Self { address, counter }
    }

    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// What was sent before is counted at the rate of before.
    pub fn set(&self, megabits: f64) {
        let mut counter = self.counter.lock().unwrap();
        counter.read();
        counter.megabits = megabits;
    }
}

impl Counter {
    fn read(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let stray = 0.9 + 0.2 * f64::from(self.random >> 8) / f64::from(1_u32 << 24);
        self.bytes += self.read.elapsed().as_secs_f64() * self.megabits * stray * 1e6 / 8.0;
        self.read = Instant::now();
        self.bytes
    }
}

pub fn answer(mut stream: TcpStream, body: &str) {
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

/// Answers every connection by `answer`, once its request has come, on a thread of its own.
pub fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    serve_at(0, answer)
}

/// The same at a port known before.
pub fn serve_at(port: u16, answer: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
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
