use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::super::alert::Alert;
use super::super::desk::{Channel, Setting, Takes};
use super::super::ledger::{Message, Rules};
use super::super::level::tests::identity;
use super::super::outbox::Pace;
use super::*;
use crate::notify::counters::Counters;
use crate::series::Labels;

struct Paper(Place, mpsc::UnboundedSender<String>);

impl Notifier for Paper {
    fn endpoint(&self) -> &Place {
        &self.0
    }

    fn tell<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<String, Failure>> {
        let _ = self.1.send(message.identity.to_string());
        Box::pin(async { Ok(String::new()) })
    }
}

fn alert(name: &str) -> Alert {
    Alert {
        labels: Labels::new([("alertname", name)]),
        annotations: BTreeMap::new(),
        starts_at: now(),
        ends_at: now() + Duration::from_hours(1),
        generator_url: String::new(),
        resolved: false,
    }
}

#[tokio::test]
async fn an_alert_that_is_poison_is_dropped_and_those_beside_and_after_it_are_told() {
    let endpoint = Place { notifier: "test", endpoint: "paper".to_owned() };
    let rules = Rules {
        place: "paper".to_owned(),
        sends_resolved: true,
        throttle: Duration::ZERO,
        missing_for: Duration::from_mins(4),
    };
    let channel = Channel { endpoint: endpoint.clone(), rules, takes: Takes::RoutedTo("paper".to_owned()) };
    let setting = Setting {
        identity: identity(),
        pace: Pace { resend: Duration::from_secs(1), probe: None },
        has_alertmanagers: false,
        failover_after: Duration::ZERO,
        route: Box::new(|labels| {
            assert_ne!(labels.get("alertname"), Some("poison"), "on purpose");
            vec!["paper".to_owned()]
        }),
    };
    let desk = Desk::new(setting, vec![channel], &[], Counters::default(), now());
    let (tell, mut told) = mpsc::unbounded_channel();
    let (relay, tasks, stop) = (Relay::default(), Tasks::default(), CancellationToken::new());
    let channels: Vec<Arc<dyn Notifier>> = vec![Arc::new(Paper(endpoint, tell))];
    let courier = Courier { desk, channels, log: Log::default(), relay: relay.clone() };
    relay.take(vec![alert("poison"), alert("beside")]);
    let ((_show, snapshots), (_find, found)) =
        (watch::channel(Arc::default()), watch::channel(Vec::<Endpoint>::new()));
    let (kept, token) = (tasks.clone(), stop.clone());
    let running = tokio::spawn(async move { courier.run(&kept, snapshots, found, token).await });
    assert!(told.recv().await.unwrap().contains("beside"));
    relay.take(vec![alert("after")]);
    assert!(told.recv().await.unwrap().contains("after"));
    assert_eq!((tasks.count(Task::Alerts), relay.alerts(now()).len()), (1, 2));
    assert!(tasks.problems().is_empty());
    stop.cancel();
    running.await.unwrap();
}
