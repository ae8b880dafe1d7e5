//! Telling people: alerts as a level, told again and again to every Alertmanager, and by native channels where none
//! answers.
//!
//! What should be known follows from a snapshot alone ([`level`]), so a lost request loses nothing: the next one says the
//! same. [`desk`] decides who is told what and when, without clock or I/O; [`courier`] carries it out, one errand for each
//! receiver at a time, so that one that hangs delays no other.
//!
//! ```text
//! snapshot ─► level ─► desk ─┬─► outbox (one an Alertmanager) ─► alertmanager
//! relay ─────►               └─► ledger (one a channel)       ─► slack, pagerduty, webhook, email
//! ```

pub mod alert;
pub mod alertmanager;
pub mod channels;
pub mod config;
pub mod counters;
pub mod courier;
pub mod desk;
pub mod discovery;
mod dns;
pub mod email;
pub mod http;
pub mod ledger;
pub mod level;
pub mod message;
pub mod nflog;
pub mod outbox;
pub mod pagerduty;
pub mod pause;
pub mod receivers;
pub mod relabel;
pub mod relay;
pub mod retry;
pub mod route;
pub mod slack;
pub mod throttle;
pub mod webhook;

use futures_util::future::BoxFuture;

use counters::Endpoint;
use ledger::Message;
use retry::Failure;

/// A native channel.
pub trait Notifier: Send + Sync {
    /// Whom counts are kept under; without secrets.
    fn endpoint(&self) -> &Endpoint;

    /// Tells `message`; returns what was answered, without secrets.
    fn tell<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<String, Failure>>;
}
