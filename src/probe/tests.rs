use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::config::Peer;
use super::*;
use crate::exposition::Everything;
use crate::setting::Span;
use crate::signal::{Macros, Plan, Selections, defaults};
use crate::window::{Limits, Window};

const TIMEOUT: Duration = Duration::from_millis(400);

fn tcp(address: &dyn ToString) -> Peer {
    Peer { tcp: Some(address.to_string()), http: None }
}

fn http(url: String) -> Peer {
    Peer { http: Some(crate::setting::Address::new(url)), tcp: None }
}

async fn ask(peer: Peer) -> Outcome {
    Asker::new(&peer, TIMEOUT).unwrap().ask(TIMEOUT).await
}

/// Answers one request on each connection after `delay`.
async fn server(delay: Duration, answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1024]).await;
                tokio::time::sleep(delay).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

/// A listener whose backlog is full, with what fills it.
async fn full() -> (tokio::net::TcpListener, Vec<TcpStream>, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(TIMEOUT, TcpStream::connect(address)).await {
        held.push(stream);
        assert!(held.len() < 100, "the backlog has no end");
    }
    (listener, held, address)
}

async fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_connect_to_a_listener_is_timed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outcome = ask(tcp(&listener.local_addr().unwrap())).await;
    assert!(matches!(outcome, Outcome::Answered(took) if took < TIMEOUT && !took.is_zero()), "{outcome:?}");
}

#[tokio::test]
async fn the_first_byte_of_any_answer_is_timed_with_the_delay_before_it() {
    let delay = Duration::from_millis(60);
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nContent-Length: 9999\r\n\r\nbut the body never ends",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    ] {
        let outcome = ask(http(format!("http://{}/", server(delay, answer).await))).await;
        assert!(matches!(outcome, Outcome::Answered(took) if took >= delay), "{answer}: {outcome:?}");
    }
}

#[tokio::test]
async fn what_is_not_answered_in_time_is_lost() {
    let (_listener, _held, address) = full().await;
    assert_eq!(ask(tcp(&address)).await, Outcome::Lost, "a full backlog");
    assert_eq!(ask(http(format!("http://{address}/"))).await, Outcome::Lost, "a full backlog, by HTTP");
    let silent = server(Duration::from_hours(1), "").await;
    assert_eq!(ask(http(format!("http://{silent}/"))).await, Outcome::Lost, "a server that says nothing");
}

#[tokio::test]
async fn what_is_refused_is_not_lost() {
    let address = closed().await;
    assert_eq!(ask(tcp(&address)).await, Outcome::Refused);
    assert_eq!(ask(http(format!("http://{address}/"))).await, Outcome::Refused);
}

#[tokio::test]
async fn what_fails_otherwise_says_how() {
    let garbage = server(Duration::ZERO, "this is no HTTP\r\n\r\n").await;
    for peer in [tcp(&"no-such-host.invalid:80"), http(format!("http://{garbage}/"))] {
        let told = peer.to_string();
        let outcome = ask(peer).await;
        assert!(matches!(&outcome, Outcome::Failed(why) if !why.is_empty()), "{told}: {outcome:?}");
    }
}

fn value(window: &Window, name: &str, at: Timestamp) -> Option<f64> {
    let macros = Macros { rate_interval: Duration::from_secs(4) };
    let signal = defaults().into_iter().find(|signal| signal.name == name).unwrap();
    let plan = Plan::signal(&signal.expr, &macros).unwrap();
    let read = plan.read(window.view(), at, &mut Selections::default()).unwrap();
    assert!(read.values.len() <= 1, "{read:?}");
    read.values.first().map(|(_, value)| *value)
}

#[tokio::test]
async fn the_default_signals_read_what_was_probed() {
    let delay = Duration::from_millis(30);
    let slow = server(delay, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let (_listener, _held, lossy) = full().await;
    let config = Config {
        interval: Span(TIMEOUT),
        timeout: Span(TIMEOUT),
        targets: vec![http(format!("http://{slow}/")), tcp(&lossy), tcp(&closed().await)],
    };
    let mut prober = Prober::new(&config, Duration::from_secs(4), Clock::default()).unwrap();
    let mut window = Window::new(Limits { samples: 100, bytes: 1 << 20 });
    for _ in 0..2 {
        window.push(&prober.round(&Everything).await);
    }
    let at = window.newest().unwrap();
    let latency = value(&window, "latency", at).unwrap();
    assert!((delay.as_secs_f64() * 1e3..TIMEOUT.as_secs_f64() * 1e3).contains(&latency), "{latency}");
    // The peers answer in any order, and the mean of them is rounded otherwise in each.
    let loss = value(&window, "packet_loss", at).unwrap();
    assert!((loss - 100.0 / 3.0).abs() < 1e-13, "one of three peers loses all, not {loss} %");
    assert!(value(&window, "jitter", at).is_some_and(|jitter| jitter >= 0.0));
}

#[tokio::test]
async fn probing_goes_on_until_told_to_stop_and_then_nothing_is_current() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = tcp(&listener.local_addr().unwrap());
    let config =
        Config { interval: Span(Duration::from_millis(100)), targets: vec![peer], ..Config::default() };
    let (out, mut rounds) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let prober = Prober::new(&config, Duration::from_secs(4), Clock::default()).unwrap();
    let running = tokio::spawn(prober.run(Arc::new(Everything), out, stop.clone()));
    let mut window = Window::new(Limits { samples: 100, bytes: 1 << 20 });
    for _ in 0..3 {
        window.push(&rounds.recv().await.unwrap());
    }
    assert!(value(&window, "latency", window.newest().unwrap()).is_some());
    stop.cancel();
    while let Some(batch) = rounds.recv().await {
        window.push(&batch);
    }
    running.await.unwrap();
    assert_eq!(value(&window, "latency", window.newest().unwrap()), None);
    assert_eq!(value(&window, "packet_loss", window.newest().unwrap()), None);
}

#[tokio::test]
async fn only_what_a_signal_wants_is_kept() {
    struct RoundTrips;
    impl Wanted for RoundTrips {
        fn name(&self, name: &str) -> bool {
            name == "dwcp_probe_rtt_seconds"
        }
        fn series(&self, labels: &crate::series::Labels) -> bool {
            self.name(labels.name())
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config { targets: vec![tcp(&listener.local_addr().unwrap())], ..Config::default() };
    let batch =
        Prober::new(&config, Duration::from_secs(4), Clock::default()).unwrap().round(&RoundTrips).await;
    let names: Vec<&str> = batch.samples.iter().map(|sample| sample.labels.name()).collect();
    assert_eq!(names, ["dwcp_probe_rtt_seconds"]);
}
