//! Telling people: alerts as a level, sent again and again, to every Alertmanager.
//!
//! What should be known follows from a snapshot alone ([`alert::alerts`]), so a lost request loses nothing: the next
//! one says the same. Each Alertmanager has a task of its own, so that one that hangs delays no other.

pub mod alert;
pub mod alertmanager;
pub mod config;
